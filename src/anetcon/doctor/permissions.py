"""What this process and the running daemon may do, against what the engine needs."""

from __future__ import annotations

from collections.abc import Iterator

from anetcon.doctor import processes
from anetcon.doctor.finding import Finding, Severity, unchecked
from anetcon.doctor.machine import Machine, can_enter, effective_capabilities
from anetcon.link import capabilities, descriptors


def ours(machine: Machine) -> Iterator[Finding]:  # noqa: ARG001 - the shape of a check
    """Whether this process can look at everything."""
    if can_enter():
        yield Finding("privileges", Severity.OK, "this process may enter namespaces")
        return
    held = effective_capabilities() or 0
    missing = [name for name, bit in capabilities.ALWAYS.items() if not held >> bit & 1] or ["root"]
    found = f"doctor did not look into the namespaces: {' and '.join(missing)} missing"
    yield unchecked("privileges", found, "run it as root: `sudo anetcon doctor`")


def of_daemon(machine: Machine) -> Iterator[Finding]:
    """Whether the running daemon has the capabilities of its engine."""
    if not machine.daemon.pid:
        return
    held = effective_capabilities(machine.daemon.pid)
    if held is None:
        yield unchecked(
            "privileges", f"doctor cannot read the capabilities of process {machine.daemon.pid}", "run it as root"
        )
        return
    missing = [name for name, bit in machine.needed_capabilities().items() if not held >> bit & 1]
    if missing:
        means = f"the engine {machine.engine} needs them: namespaces stay without audit"
        remedy = "run `anetcon install`, which gives its unit a drop-in for this engine, and restart it"
        yield Finding("privileges", Severity.PROBLEM, f"the daemon lacks {' and '.join(missing)}", means, remedy)
    else:
        yield Finding("privileges", Severity.OK, "the daemon has the capabilities that its engine needs")


def files(machine: Machine, namespaces: int) -> Iterator[Finding]:
    """Whether enough files can be open."""
    if not machine.daemon.pid:
        return
    limit = processes.open_files_limit(machine.text(f"/proc/{machine.daemon.pid}/limits"))
    needed = (descriptors.EACH_FILES + machine.settings.record_invalid) * namespaces + descriptors.KEPT_FILES
    if limit is not None and limit < needed:
        found = f"the daemon may have {limit} files open; {namespaces} namespaces need {needed}"
        means = "some namespaces cannot be attached"
        at_once = f"prlimit --pid {machine.daemon.pid} --nofile={2 * needed}"
        remedy = f"set `LimitNOFILE={2 * needed}` in its unit, or at once: `{at_once}`"
        yield Finding("files", Severity.PROBLEM, found, means, remedy)
    elif limit is not None:
        yield Finding("files", Severity.OK, f"the daemon may have {limit} files open, it needs about {needed}")
