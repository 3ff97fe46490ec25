"""All checks, in order: what the host tells, then each namespace, entered once."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from anetcon.doctor import (
    clock_sync,
    daemon_health,
    disk,
    foreign_rules,
    host_resources,
    kernel_features,
    listeners,
    machine,
    permissions,
    processes,
    stale,
    sysctls,
    table,
    text_logs,
)
from anetcon.doctor.finding import Finding, Severity, unchecked
from anetcon.doctor.look import NamespaceLook, visit
from anetcon.doctor.machine import Machine
from anetcon.doctor.processes import HostProcess
from anetcon.errors import AnetconError
from anetcon.link.settings import DEFAULT, Settings
from anetcon.system.netns import Home
from anetcon.system.printable import canonical, recorded

Check = Callable[[NamespaceLook, Machine], Iterator[Finding]]
OF_NAMESPACE: tuple[Check, ...] = (
    *(sysctls.sysctls, sysctls.weaknesses, table.tracking, table.size, table.refused, table.untracked),
    *(
        listeners.others,
        listeners.ours,
        foreign_rules.hiding,
        foreign_rules.offload,
        foreign_rules.before_ours,
        stale.stale,
    ),
)


class Predecessor(Protocol):
    """What is known of another program that did this one's job before, and may run still."""

    def running(self, every: Mapping[int, HostProcess]) -> Iterable[HostProcess]:
        """Its processes."""

    def script(self, machine: Machine) -> Iterator[Finding]:
        """The findings about it."""


def examine(
    resolved: Mapping[str, Any], names: Sequence[str] = (), predecessor: Predecessor | None = None
) -> list[Finding]:
    """Every finding about this host and the namespaces that the settings select, or those named."""
    seen = machine.read(resolved)
    if predecessor:
        seen = dataclasses.replace(seen, others=tuple(predecessor.running(seen.processes)))
    chosen, plain = namespaces(seen.settings, names)
    found: list[Finding] = []
    looks: list[NamespaceLook] = []
    if machine.can_enter():
        home = Home()
        looks = [visit(home, look) for look in chosen]
    else:
        why, remedy = "doctor did not enter it: that needs root", "run it as root: `sudo anetcon doctor`"
        found = [unchecked("namespace", why, remedy, look.netns) for look in chosen if look.audited]
    inodes = {each.inode for look in looks for each in listeners.of_conntrack(look)}
    pids = sorted(seen.processes, key=lambda pid: pid not in seen.daemon.family)
    seen = dataclasses.replace(seen, owners=processes.owners(inodes, pids))
    audited = sum(look.audited for look in chosen)
    return [
        *of_host(seen, audited, plain),
        *(predecessor.script(seen) if predecessor else ()),
        *unselected(chosen, names, seen),
        *found,
        *(finding for look in looks for finding in of_namespace(look, seen)),
    ]


def namespaces(settings: Settings, names: Sequence[str]) -> tuple[list[NamespaceLook], list[str]]:
    """The namespaces to look at, with those that are not audited, and selected names that are plain files.

    With names only those; AnetconError for one that is not there.
    """
    device = Path("/proc/self/ns/net").stat().st_dev
    found, plain = [], []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        for path in sorted(Path(settings.netns_dir).iterdir()):
            with contextlib.suppress(OSError):
                if path.stat().st_dev == device:
                    found.append(NamespaceLook(recorded(path.name), path, settings.selects(path.name)))
                elif settings.selects(path.name):
                    plain.append(recorded(path.name))
    found.insert(0, NamespaceLook(DEFAULT, None, settings.with_default))
    names = [*map(canonical, names)]
    missing = sorted(set(names) - {look.netns for look in found} - set(plain))
    if missing:
        raise AnetconError(f"there is no namespace {missing[0]} in {settings.netns_dir}: `ip netns list` names them")
    return [look for look in found if not names or look.netns in names], plain if not names else []


def of_host(seen: Machine, audited: int, plain: Sequence[str]) -> Iterator[Finding]:
    """Everything that is not about one namespace."""
    pid_namespace = ""
    with contextlib.suppress(OSError):
        pid_namespace = str(Path("/proc/self/ns/pid").readlink())
    yield from daemon_health.daemon(seen)
    yield from kernel_features.probe(seen)
    yield from permissions.ours(seen)
    yield from permissions.of_daemon(seen)
    yield from permissions.files(seen, audited)
    yield from selection(seen, audited)
    yield from host_resources.folder(seen, list(plain))
    yield from host_resources.containers(seen, pid_namespace)
    yield from host_resources.log_switch(seen)
    yield from host_resources.memory(seen, audited)
    yield from host_resources.processors(seen)
    yield from host_resources.inotify(seen)
    yield from disk.disk(seen)
    yield from disk.journal(seen)
    yield from clock_sync.clock(seen, clock_sync.read())
    yield from text_logs.files(seen)


def selection(seen: Machine, audited: int) -> Iterator[Finding]:
    """Whether the settings select anything at all."""
    if audited:
        yield Finding("selection", Severity.OK, f"{audited} namespaces are audited")
        return
    found = f"no namespace in {seen.settings.netns_dir} has a name that audit.namespaces selects"
    means = "nothing is recorded until one appears"
    remedy = "see what there is: `ip netns list`; for a plain gateway " + seen.setting(
        "audit.namespaces", '["default"]'
    )
    yield Finding("selection", Severity.PROBLEM, found, means, remedy)


def unselected(looks: Sequence[NamespaceLook], names: Sequence[str], seen: Machine) -> Iterator[Finding]:
    """Namespaces that were named, and that the settings do not select."""
    for look in looks:
        if names and not look.audited:
            found = "audit.namespaces does not select it"
            means = "nobody records its connections; doctor only looked for rules that we left there"
            remedy = f"add its name to `namespaces` under [audit] in {seen.file}; to look at it: `-n {look.netns}`"
            yield Finding("selection", Severity.WARNING, found, means, remedy, look.netns)


def of_namespace(look: NamespaceLook, seen: Machine) -> Iterator[Finding]:
    """Everything about one namespace; of one that is not audited only what we left there."""
    if "namespace" in look.failed:
        why = f"doctor cannot enter it: {look.failed['namespace']}"
        remedy = f"see whether it is still there: `ls -l {look.path}`"
        yield unchecked("namespace", why, remedy, look.netns)
        return
    for check in OF_NAMESPACE:
        yield from check(look, seen)
