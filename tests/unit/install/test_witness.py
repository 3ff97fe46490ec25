"""What rsyslog lost is written in its place, and nothing twice."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.install import witness
from anetcon.install.witness import Line, Witness, parsed
from tests.netns.waiting import wait_until

RECORD = b"4,1234,5678000001,-;[A][X] IN= OUT=eth0 SRC=10.0.0.1 ID=%d PROTO=TCP \n SUBSYSTEM=none\n"


def text(number: int) -> str:
    """The text of a line."""
    return f"[A][X] IN= OUT=eth0 SRC=10.0.0.1 ID={number} PROTO=TCP"


class Ring(Witness):
    """Of a kernel that prints what it is told to."""

    def __init__(self, log: Path, elsewhere: Path) -> None:
        super().__init__({"[A][X]": log}, [elsewhere], Path("/dev/null"))
        self.prints: list[bytes] = []

    def _read(self) -> None:
        while self.prints:
            self._lines.append(parsed(self.prints.pop(0)))


@pytest.fixture
def logs(tmp_path: Path) -> tuple[Path, Path]:
    """The log, with lines from before, and another where its lines may be."""
    log, elsewhere = tmp_path / "nat.log", tmp_path / "other.log"
    log.write_text(f"{text(1)}\n{text(2)}\n")
    return log, elsewhere


def test_what_is_missing_before_a_later_line(logs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is appended at once, as rsyslog writes it, with the kernel's time; what is there, also in the other file, is
    not."""
    log, elsewhere = logs
    monkeypatch.setattr(socket, "gethostname", lambda: "node1.example.org")
    seen = Ring(*logs)
    seen.prints = [RECORD % number for number in (2, 3, 4)]
    elsewhere.write_text(f"{text(3)}\n")
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(seen.fill()))
    thread.start()
    wait_until(lambda: len(seen._lines) == 3, 30, "they are read")
    with log.open("a") as file:
        file.write(f"{text(5)}\n")
    seen.prints.append(RECORD % 5)
    thread.join()
    assert done == [2], "2 was there before, so it is another line with the same text"
    assert [line[len("Nov 20 13:05:09 ") :] for line in log.read_text().splitlines()[-2:]] == [
        f"node1 kernel: [ 5678.000001] {text(number)}" for number in (2, 4)
    ]


def test_without_a_later_line_it_is_not_waited_for_ever(
    logs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a line that does not come within the time is lost; without any line there is nothing to wait for."""
    seen = Ring(*logs)
    assert seen.fill() == 0
    monkeypatch.setattr(witness, "SECONDS", 0.1)
    seen = Ring(*logs)
    seen.prints = [RECORD % 3]
    assert seen.fill() == 1
    assert logs[0].read_text().endswith(f"{text(3)}\n")


@given(st.binary(max_size=80))
def test_any_record_is_read(record: bytes) -> None:
    """What is no record is an empty line, which begins with no prefix."""
    line = parsed(record)
    assert isinstance(line, Line)
    assert line.at >= 0
    assert parsed(RECORD % 3) == (5678000001, text(3))
