"""Replacing the keeper's program in place: its sockets, its lock and its counters go on to the new one.

All that has to survive (`handover`) is written into a memory file; descriptors become inheritable. Signals are blocked
until the new program handles them. Refuses to hand over what can be had again: watches, timers, the channel.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from anetcon.gaps import Cause
from anetcon.keeper.attach import Attachment
from anetcon.keeper.handover import Handover, KeptNamespace
from anetcon.keeper.hold import Guard
from anetcon.keeper.namespace import Namespace, Refusal, Stage
from anetcon.keeper.namespaces import Seen
from anetcon.keeper.roster import Roster
from anetcon.link import settings as memory
from anetcon.link.settings import DEFAULT, Settings
from anetcon.system.process import python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)

_NO = (Stage.DRAINING, Stage.GONE)


def state_of(roster: Roster, past: list[int]) -> dict[str, Any]:
    """What the new program needs to know of the namespaces."""
    kept = {Stage.FOUND: "retrying", Stage.REFUSED: "retrying", Stage.ATTACHED: "attached"}
    lists: dict[str, list[KeptNamespace]] = {"attached": [], "retrying": []}
    for namespace in roster.namespaces.values():
        lists[kept[namespace.state]].append(_kept(namespace))
    draining, gone = (list(map(_kept, each)) for each in (roster.draining.values(), roster.gone))
    return {**lists, "draining": draining, "gone": gone, "past": past}


def restore(state: Handover, settings: Settings, roster: Roster, guard: Guard) -> None:
    """Fill a new roster and guard with what `state_of` described."""
    there = []
    for kept in state.attached:
        namespace = restored(kept, Stage.ATTACHED, settings.netns_dir, _attachment(kept))
        if state.hold:
            guard.resume(namespace, kept.out)
        there.append(namespace)
    waiting = {True: Stage.FOUND, False: Stage.REFUSED}
    there += [restored(kept, waiting[kept.message is None], settings.netns_dir) for kept in state.retrying]
    there += [restored(kept, Stage.DRAINING, settings.netns_dir) for kept in state.draining]
    gone = [restored(kept._replace(slot=-1), Stage.GONE, settings.netns_dir) for kept in state.gone]
    roster.restore(there, gone)


def execute(state: Handover, resolved: dict[str, Any], arguments: list[str]) -> None:
    """Become the new program, whose `main` gets `--settings`, `--state` and `arguments`. OSError when it cannot."""
    descriptors = [memory.write(resolved), state.write()]
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


def _kept(namespace: Namespace) -> KeptNamespace:
    attachment, refusal, gone = namespace.attachment, namespace.refusal, namespace.state in _NO
    kept = KeptNamespace(
        namespace.name,
        namespace.inode,
        namespace.seen.noticed,
        namespace.seen.newborn,
        attached=0 if attachment is None else namespace.since,
        gone=namespace.since if gone else 0,
        slot=namespace.slot,
        handed=namespace.handed,
        cause=refusal.cause if refusal else Cause.NOT_ATTACHED,
        message=refusal.why if refusal else None,
        counters=list(namespace.counters),
    )
    if attachment is None:
        return kept
    invalid, held = attachment.invalid, attachment.held
    return kept._replace(
        descriptors=[each.fileno() for each in attachment.all()],
        out=None if held is None else held.state(),
        untracked=invalid.count,
        untracked_seen=invalid.seen,
        untracked_last=invalid.last and list(invalid.last),
        left=invalid.left,
    )


def restored(kept: KeptNamespace, state: Stage, folder: str, attachment: Attachment | None = None) -> Namespace:
    """A namespace as it was."""
    path = None if kept.name == DEFAULT else Path(folder, kept.name)
    namespace = Namespace(path, Seen(kept.inode, kept.newborn, kept.noticed))
    refusal = None if kept.message is None else Refusal(kept.message, Cause(kept.cause))
    namespace.restore(state, kept.gone or kept.attached or kept.noticed, refusal)
    namespace.resume(kept.slot, kept.handed, kept.counters, attachment)
    return namespace


def _attachment(kept: KeptNamespace) -> Attachment:
    opened = [socket.socket(fileno=descriptor) for descriptor in kept.descriptors or ()]
    for each in opened:
        each.set_inheritable(False)
    attachment = Attachment(*opened)
    attachment.stats.setblocking(False)
    last = kept.untracked_last and (kept.untracked_last[0], kept.untracked_last[1])
    attachment.invalid.restore(kept.untracked, kept.untracked_seen, last or None, kept.left or {})
    return attachment
