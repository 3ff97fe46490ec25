"""Processes and the sockets they have open."""

from __future__ import annotations

import os
import socket

from hypothesis import given
from hypothesis import strategies as st

from anetcon.doctor import processes
from tests.support.doctor_parts import PROCESSES, process

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max open files            1024                 1048576              files
"""


def test_a_name_may_hold_anything() -> None:
    """The name ends at the last bracket."""
    found = processes.process("42 (a) b (c) T 7 42 42", b"bash\0/usr/sbin/anetcon.sh\0")
    assert found == process(42, "a) b (c", "bash", "/usr/sbin/anetcon.sh", state="T", parent=7)


@given(st.text(max_size=60), st.binary(max_size=60))
def test_any_text(text: str, words: bytes) -> None:
    """What is no process is none."""
    processes.process(text, words)
    processes.process(f"42 ({text}) S 1", words)
    processes.capabilities(text)
    processes.capabilities(f"CapEff:{text}")
    processes.open_files_limit(f"Max open files {text}")


def test_families() -> None:
    """A process with all that came of it, and nobody else."""
    assert processes.family(100, PROCESSES.values()) == {100, 101, 102}
    circle = [process(1, "a", parent=2), process(2, "b", parent=1)]
    assert processes.family(1, circle) == {1, 2}


def test_owners_of_a_socket() -> None:
    """Our own socket is ours; one that nobody has is nobody's."""
    with socket.socket() as mine:
        inode = os.fstat(mine.fileno()).st_ino
        assert processes.owners([inode, 1], [os.getpid(), 1 << 22]) == {inode: (os.getpid(),)}
    assert processes.every()[os.getpid()].parent == os.getppid()


def test_capabilities_and_limits() -> None:
    """They are read from the kernel's own words."""
    assert processes.capabilities("Name:\tx\nCapEff:\t0000000000201000\n") == 1 << 12 | 1 << 21
    assert processes.capabilities("Name:\tx\n") == 0
    assert processes.open_files_limit(LIMITS) == 1024
    assert processes.open_files_limit(LIMITS.replace("1024", "unlimited")) is None
    assert processes.open_files_limit("") is None
