"""The kernel's log as the keeper keeps it: opened at its end or refused in one sentence, handed on whole."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from anetcon.errors import PermissionMissingError
from anetcon.keeper.children import Reaper
from anetcon.keeper.handover import KeptChild
from anetcon.keeper.log_engine import kernel_log as lines
from anetcon.keeper.log_engine.kernel_log import KernelLog
from anetcon.keeper.loop import Loop


def kernel_log(state: KeptChild | None = None) -> KernelLog:
    """One whose reader would be a module that does not matter here."""
    loop = Loop()
    return KernelLog(loop, Reaper(loop), "json", os.open("/dev/null", os.O_RDONLY), state)


def test_a_log_that_cannot_be_opened_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the capability and the engine that does without."""
    monkeypatch.setattr(lines, "KMSG", str(tmp_path / "kmsg"))
    with pytest.raises(PermissionMissingError, match=r"cannot read .*kmsg: .*CAP_SYSLOG.*`conntrack`"):
        kernel_log()


def test_the_first_message_is_the_one_behind_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was printed before the start is skipped; its last number tells which comes next."""
    log, written = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    log.setblocking(False)
    for number in (41, 42):
        written.send(b"4,%d,1,-;old\n" % number)
    monkeypatch.setattr(os, "open", lambda *_: log.detach())
    descriptor, following = lines._open()
    assert following == 43
    os.close(descriptor)
    written.close()


def test_capture_is_handed_the_other_end_of_what_the_reader_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes in at the reader's end comes out at the one that is handed over, packet by packet."""
    (tmp_path / "kmsg").touch()
    monkeypatch.setattr(lines, "KMSG", str(tmp_path / "kmsg"))
    monkeypatch.setattr(lines, "_open", lambda: (os.open(tmp_path / "kmsg", os.O_RDONLY), 7))
    made = kernel_log()
    handed: list[int] = []
    made.hand_over(lambda _, descriptors: handed.extend(descriptors))
    _, reader, capture = made.descriptors()
    assert handed == [capture]
    os.write(reader, b"one")
    os.write(reader, b"two")
    assert [os.read(capture, 100), os.read(capture, 100)] == [b"one", b"two"]
    assert made.first == 7
    ended: list[bool] = []
    made.close(lambda: ended.append(True))
    assert ended == [True]


def test_the_next_program_goes_on_with_the_same_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one hands on at a replacement in place the other takes over, without a new first message."""
    (tmp_path / "kmsg").touch()
    monkeypatch.setattr(lines, "_open", lambda: (os.open(tmp_path / "kmsg", os.O_RDONLY), 7))
    before = kernel_log()
    before.reader.restarts = 3
    state = before.state()
    copies = [os.dup(descriptor) for descriptor in state.descriptors]
    after = kernel_log(state._replace(descriptors=copies))
    assert after.descriptors() == copies
    assert (after.first, after.reader.restarts) == (0, 3)
    assert not any(os.get_inheritable(descriptor) for descriptor in copies)
    before.close()
    after.close()
