"""Replacing the keeper's program in place: its sockets, its lock and its counters go on to the new one.

All that has to survive (`handover`) is written into a memory file; descriptors become inheritable. Signals are blocked
until the new program handles them. Refuses to hand over what can be had again: watches, timers, the channel.
"""

from __future__ import annotations

import os
import signal
import socket

from anetcon.gaps import Cause
from anetcon.keeper.attach import Sockets
from anetcon.keeper.handover import Handover, KeptNamespace
from anetcon.keeper.hold import Guard
from anetcon.keeper.namespaces import Found
from anetcon.keeper.roster import Audited, Roster
from anetcon.link import settings
from anetcon.system.process import python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)

_SAME = [name for name in KeptNamespace._fields if name not in ("descriptors", "out")]


def state_of(roster: Roster, guard: Guard) -> dict[str, Any]:
    """What the new program needs to know of the namespaces."""
    return {
        "attached": [_kept(a, descriptors=_descriptors(s), out=guard.state(a.slot)) for a, s in roster.attached()],
        "retrying": [_kept(audited) for audited in roster.audited.values() if audited.sockets is None],
        "draining": [_kept(audited) for audited in roster.draining.values()],
        "gone": [_kept(audited) for audited in roster.gone],
        "past": roster.past,
    }


def restore(state: Handover, roster: Roster, guard: Guard) -> None:
    """Fill a new roster and guard with what `state_of` described."""
    for kept in state.attached:
        audited, sockets = _audited(kept), _sockets(kept.descriptors or [])
        roster.take(audited, sockets)
        if state.hold:
            guard.resume(audited.slot, audited.netns, sockets.events, sockets.stats, kept.out)
    for kept in state.retrying:
        roster.audited[kept.name] = _audited(kept)
    for kept in state.draining:
        roster.take_draining(_audited(kept))
    for kept in state.gone:
        roster.gone.append(_audited(kept._replace(slot=-1)))
    roster.past = state.past


def execute(state: Handover, resolved: dict[str, Any], arguments: list[str]) -> None:
    """Become the new program, whose `main` gets `--settings`, `--state` and `arguments`. OSError when it cannot."""
    descriptors = [settings.write(resolved), state.write()]
    inherited = [*descriptors, *state.descriptors()]
    options = ["--settings", str(descriptors[0]), "--state", str(descriptors[1])]
    command = python("anetcon.keeper.main", *options, *arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        for descriptor in inherited:
            os.set_inheritable(descriptor, True)
        os.execv(command[0], command)  # noqa: S606  (a shell is what we do not want)
    finally:  # only when it failed
        for descriptor in inherited:
            os.set_inheritable(descriptor, False)
        for descriptor in descriptors:
            os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _kept(audited: Audited, **more: Any) -> KeptNamespace:
    return KeptNamespace(**{name: getattr(audited, name) for name in _SAME}, **more)


def _audited(kept: KeptNamespace) -> Audited:
    audited = Audited(kept.name, Found(kept.inode, kept.newborn))
    for name in _SAME:
        if (value := getattr(kept, name)) is not None:
            setattr(audited, name, value)
    audited.cause, audited.counters = Cause(audited.cause), tuple(audited.counters)
    return audited


def _descriptors(sockets: Sockets) -> list[int]:
    return [each.fileno() for each in sockets.all()]


def _sockets(descriptors: list[int]) -> Sockets:
    opened = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for each in opened:
        each.set_inheritable(False)
    sockets = Sockets(*opened)
    sockets.stats.setblocking(False)
    return sockets
