"""systemd, and the running daemon: what has to be done after files were installed, or before they go.

First looked at, then decided (`after_install`: pure), then done. A daemon that runs is replaced in place by SIGUSR2,
which makes no gap; restarted only where its program has moved, since it would execute the old one again.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anetcon.errors import AnetconError, ProgramMissingError
from anetcon.install.places import SIGN_UNIT, UNIT

SYSTEMD = Path("/run/systemd/system")
ROOT_OF_1 = Path("/proc/1/root")
SHOWN = ("LoadState", "ActiveState", "NeedDaemonReload", "MainPID")
NO_SYSTEMD = (
    "systemd does not run here, so install starts nothing. Where it never does, have the machine start "
    "`{program} run` at boot, and send it SIGHUP when its configuration changes"
)


@dataclass(frozen=True)
class ServiceState:
    """What systemd says of the unit."""

    masked: bool
    active: bool
    stale: bool
    """Whether the unit's files changed since systemd read them."""
    pid: int
    interpreter: str
    """By which the running daemon was started."""

    def is_its(self, owner: int) -> bool:
        """Whether the owner of the store's lock, 0 where it could not write who it is, is the unit's daemon: one that
        waits to be started again, because somebody else's owns the store, has no process."""
        return self.pid != 0 and owner in (0, self.pid)


CAPTURE = "anetcon-capture"
REPLACED_SECONDS = 30.0
RELOAD = ("systemctl", "daemon-reload")


@dataclass(frozen=True)
class Changed:
    """What an installation has changed."""

    units: bool = False
    program: bool = False
    rsyslog: bool = False


@dataclass(frozen=True)
class Action:
    """A command that is run, a signal to the daemon, or only something that has to be said."""

    words: tuple[str, ...] = ()
    process: int = 0
    note: str = ""
    may_fail: bool = False
    """As where the unit is masked: what it says does not matter."""

    def __str__(self) -> str:
        if self.process:
            return (
                f"{'signal':8} SIGUSR2 to process {self.process}: the daemon goes on as the new program, without a gap"
            )
        return f"{'note':8} {self.note}" if self.note else f"{'run':8} {' '.join(self.words)}"


NEXT_START = Action(
    note=f"part of it holds only from the daemon's next start: `systemctl restart {UNIT}`, a gap of a second"
)
RSYSLOG = Action(("systemctl", "try-restart", "rsyslog.service"))


def has_systemd() -> bool:
    """Whether systemd is this machine's process 1, and we are not in a chroot, where systemctl does nothing."""
    with contextlib.suppress(OSError):
        return SYSTEMD.is_dir() and ROOT_OF_1.samefile("/")
    return SYSTEMD.is_dir()


def look(unit: str = UNIT) -> ServiceState:
    """Ask systemd."""
    done = run(("systemctl", "show", f"--property={','.join(SHOWN)}", unit))
    said = dict(line.partition("=")[::2] for line in done.splitlines())
    pid = int(said.get("MainPID", "0") or 0)
    interpreter = ""
    with contextlib.suppress(OSError):
        interpreter = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    return ServiceState(
        masked=said.get("LoadState") == "masked",
        active=said.get("ActiveState") in ("active", "reloading", "activating"),
        stale=said.get("NeedDaemonReload") == "yes",
        pid=pid,
        interpreter=interpreter,
    )


def after_install(
    state: ServiceState, changed: Changed, interpreter: str, start: bool, in_place: bool = True
) -> list[Action]:
    """What is to be done when everything is in its place; `interpreter` is that of the program now, `in_place` whether
    the daemon that runs can take the configuration over. Raises AnetconError where systemd would not start it."""
    if start and state.masked and not state.active:
        raise AnetconError(f"{UNIT} is masked: run `systemctl unmask {UNIT}` and install again, or give --no-start")
    actions = [Action(RELOAD)] if changed.units or state.stale else []
    if changed.rsyslog:
        actions.append(RSYSLOG)
    if state.active and state.interpreter != interpreter:
        actions.append(Action(("systemctl", "restart", UNIT)))
    elif state.active and not in_place:
        pass  # it would refuse it, and go on as it was
    elif state.active and changed.program:
        actions += [Action(process=state.pid), Action(("systemctl", "restart", SIGN_UNIT), may_fail=True)]
    elif state.active and changed.rsyslog:
        actions.append(Action(("systemctl", "reload", UNIT)))
    elif start and not state.active:
        actions.append(Action(("systemctl", "start", UNIT)))
    if state.active and (changed.units or not in_place) and state.interpreter == interpreter:
        actions.append(NEXT_START)
    return actions


def before_uninstall(state: ServiceState) -> list[Action]:
    """What is to be done before anything goes."""
    return [Action(("systemctl", "stop", UNIT))] if state.active else []


def do(action: Action) -> None:
    """Do it; AnetconError with what systemd said when it fails."""
    if action.process:
        _replace(action.process)
    elif action.words:
        with contextlib.suppress(*([AnetconError] if action.may_fail else [])):
            run(action.words)


def _replace(keeper: int) -> None:
    """Have the daemon execute its program again, and wait until it does: it has another capture then."""
    before = _captures(keeper)
    deadline = time.monotonic() + REPLACED_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.kill(keeper, signal.SIGUSR2)
    while not (now := _captures(keeper)) or now & before:
        if time.monotonic() > deadline:
            raise AnetconError(
                f"the daemon, process {keeper}, did not go on as the new program within {REPLACED_SECONDS:g} s: "
                f"`journalctl -u {UNIT} -n 20` says why"
            )
        time.sleep(0.05)


def _captures(keeper: int) -> set[str]:
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        return {pid for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == CAPTURE}
    return set()


def run(words: Sequence[str]) -> str:
    """What a command prints; AnetconError with its line of complaint when it fails: systemctl says first what it is,
    others, such as systemd-sysusers, last."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise ProgramMissingError(f"cannot run {words[0]}: {error.strerror}") from error
    if done.returncode:
        said = _last_words() if words[-1] == UNIT else ""
        complaint = done.stderr.strip().splitlines() or ["no reason given"]
        said = said or complaint[0 if words[0] == "systemctl" else -1].rstrip(".")
        where = f"; `journalctl -u {UNIT}` has more" if words[-1] == UNIT else ""
        raise AnetconError(f"`{' '.join(words)}` failed: {said}{where}")
    return done.stdout


def _last_words() -> str:
    """Why the daemon did not start, in the words of this start: its own, else systemd's."""
    with contextlib.suppress(OSError):
        shown = _output("systemctl", "show", "--property=InvocationID", "--value", UNIT).strip()
        start = [f"_SYSTEMD_INVOCATION_ID={shown}", "+", f"INVOCATION_ID={shown}"]
        return why(_output("journalctl", "--lines=50", "--output=cat", "--no-pager", *start).splitlines())
    return ""


def _output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def why(said: Sequence[str]) -> str:
    """The line of a start that says why it failed; empty where none does."""
    own = [line for line in said if re.match(r"anetcon(-\w+)?: ", line)]
    failed = [line for line in said if line.startswith(f"{UNIT}: Failed ") and "Failed with result" not in line]
    return next(iter([*own[-1:], *failed[:1]]), "")
