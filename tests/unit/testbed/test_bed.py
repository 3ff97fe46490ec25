"""Whose a namespace is can be told from its name."""

from __future__ import annotations

import os
import re
import uuid

import pytest

from anetcon.errors import AnetconError, ProgramMissingError
from anetcon.testbed import bed


def test_a_router_is_named_as_neutron_names_it() -> None:
    """The name is `qrouter-` and a UUID, another one each time."""
    names = {bed.router_name() for _ in range(20)}
    assert len(names) == 20
    for name in names:
        assert str(uuid.UUID(name.removeprefix("qrouter-"))) == name.removeprefix("qrouter-")


def dead_process() -> int:
    """A process id that is no longer anybody's."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_what_dead_processes_left_is_told_from_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of a dead process are orphans; those of a living one, real routers and strangers are not."""
    own = bed.router_name()
    dead = dead_process()
    monkeypatch.setattr(os, "getpid", lambda: dead)
    orphan = bed.router_name()
    assert bed._is_orphan(orphan)
    gone = f"anet{bed.owner()}-1a2b-world1"
    assert bed._is_orphan(gone)
    for name in (own, f"qrouter-{uuid.uuid4()}", "anetcon", "anetwork-1", "default", f"x{gone}", gone[:16]):
        assert not bed._is_orphan(name), name


def test_processes_of_another_pid_namespace_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that shares /run/netns sees no process of the host: what those made is not taken for orphaned."""
    ours = bed.owner()
    there = f"{int(ours[:6], 16) ^ 1:06x}{dead_process():06x}"
    monkeypatch.setattr(bed, "owner", lambda _pid=None: there)
    names = [bed.router_name(), f"anet{there}-1a2b-world1"]
    assert all(bed._is_orphan(name) for name in names)
    monkeypatch.undo()
    assert not any(bed._is_orphan(name) for name in names)


def test_a_failing_command_says_what_it_said() -> None:
    """The error names the command, its status and its words; a missing program is told by name."""
    with pytest.raises(AnetconError, match=re.escape("`sh -c echo no; exit 3` failed with status 3: no")):
        bed.command(["sh", "-c", "echo no; exit 3"])
    with pytest.raises(ProgramMissingError, match="anetcon-no-such-program is not installed"):
        bed.command(["anetcon-no-such-program"])
