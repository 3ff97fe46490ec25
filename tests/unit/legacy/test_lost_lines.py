"""What rsyslog lost is written in its place, and nothing twice."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.legacy import lost_lines
from anetcon.legacy.lost_lines import KernelLine, Witness, parsed
from tests.support.waiting import wait_until

RECORD = b"4,1234,5678000001,-;[A][X] IN= OUT=eth0 SRC=10.0.0.1 ID=%d PROTO=TCP \n SUBSYSTEM=none\n"


def text(number: int) -> str:
    """The text of a line."""
    return f"[A][X] IN= OUT=eth0 SRC=10.0.0.1 ID={number} PROTO=TCP"


class Ring(Witness):
    """Of a kernel that prints what it is told to."""

    def __init__(self, log: Path, elsewhere: Path) -> None:
        super().__init__({"[A][X]": log}, [elsewhere], Path("/dev/null"))
        self.prints: list[bytes] = []
        self.looks = 0

    def _read(self) -> None:
        while self.prints:
            self._lines.append(parsed(self.prints[0]))
            del self.prints[0]

    def _written(self) -> str:
        self.looks += 1
        return super()._written()


@pytest.fixture
def logs(tmp_path: Path) -> tuple[Path, Path]:
    """The log, with lines from before, and another where its lines may be."""
    log, elsewhere = tmp_path / "nat.log", tmp_path / "other.log"
    log.write_text(f"{text(1)}\n{text(2)}\n")
    return log, elsewhere


def filling(seen: Ring) -> tuple[threading.Thread, list[int]]:
    """`fill` at work, and what it will have returned, once it has read what is printed by now."""
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(seen.fill()))
    printed = len(seen.prints)
    thread.start()
    wait_until(lambda: len(seen._lines) == printed, 30, "they are read")
    return thread, done


def write(seen: Ring, log: Path, number: int) -> None:
    """The kernel prints a line, rsyslog writes it, and that is seen."""
    seen.prints.append(RECORD % number)
    wait_until(lambda: not seen.prints, 30, "it is read")
    with log.open("a") as file:
        file.write(f"{text(number)}\n")
    before = seen.looks
    wait_until(lambda: seen.looks >= before + 3, 30, "it is seen")  # the look at work, and both of the next turn


def test_what_is_missing_before_a_later_line(logs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is appended at once, as rsyslog writes it, with the kernel's time; what is there, also in the other file, is
    not."""
    log, elsewhere = logs
    monkeypatch.setattr(socket, "gethostname", lambda: "node1.example.org")
    seen = Ring(*logs)
    seen.prints = [RECORD % number for number in (2, 3, 4)]
    elsewhere.write_text(f"{text(3)}\n")
    thread, done = filling(seen)
    write(seen, log, 5)
    assert thread.is_alive()
    with log.open("a") as file:
        file.write(f"{text(6)}\n")
    seen.prints.append(RECORD % 6)
    thread.join()
    assert done == [2], "2 was there before, so it is another line with the same text"
    assert [line[len("Nov 20 13:05:09 ") :] for line in log.read_text().splitlines()[-2:]] == [
        f"node1 kernel: [ 5678.000001] {text(number)}" for number in (2, 4)
    ]


def test_a_later_line_that_is_written_first(logs: tuple[Path, Path]) -> None:
    """rsyslog has written one file of a lot and not yet the other, in which the earlier line is: it is not lost."""
    log, elsewhere = logs
    seen = Ring(*logs)
    seen.prints = [RECORD % 3]
    thread, done = filling(seen)
    write(seen, log, 4)
    elsewhere.write_text(f"{text(3)}\n")
    thread.join()
    assert done == [0]
    assert text(3) not in log.read_text()


def test_without_a_later_line_it_is_not_waited_for_ever(
    logs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a line that does not come within the time is lost; without any line there is nothing to wait for."""
    seen = Ring(*logs)
    assert seen.fill() == 0
    monkeypatch.setattr(lost_lines, "SECONDS", 0.1)
    seen = Ring(*logs)
    seen.prints = [RECORD % 3]
    assert seen.fill() == 1
    assert logs[0].read_text().endswith(f"{text(3)}\n")


@given(st.binary(max_size=80))
def test_any_record_is_read(record: bytes) -> None:
    """What is no record is an empty line, which begins with no prefix."""
    line = parsed(record)
    assert isinstance(line, KernelLine)
    assert line.at >= 0
    assert parsed(RECORD % 3) == (5678000001, text(3))
