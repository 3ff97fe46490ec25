"""systemd, and the running daemon: what has to be done after files were installed, or before they go.

First looked at, then decided (`after_install`: pure), then done. A daemon that runs is replaced in place by SIGUSR2,
which makes no gap; restarted only where its program has moved, since it would execute the old one again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anetcon.errors import AnetconError, ProgramMissingError
from anetcon.install.layout import UNIT

SYSTEMD = Path("/run/systemd/system")
SHOWN = ("LoadState", "ActiveState", "NeedDaemonReload", "MainPID")
NO_SYSTEMD = (
    "systemd does not run here, so nothing is started: have this machine's own means start `{program} run` at boot, "
    "and send SIGHUP to it when its configuration changes"
)


@dataclass(frozen=True)
class State:
    """What systemd says of the unit."""

    loaded: bool
    active: bool
    stale: bool
    """Whether the unit's files changed since systemd read them."""
    pid: int
    interpreter: str
    """By which the running daemon was started."""


RELOAD = ("systemctl", "daemon-reload")


@dataclass(frozen=True)
class Action:
    """A command that is run, or a signal to the daemon."""

    words: tuple[str, ...] = ()
    process: int = 0

    def __str__(self) -> str:
        if self.process:
            return (
                f"{'signal':8} SIGUSR2 to process {self.process}: the daemon goes on as the new program, without a gap"
            )
        return f"{'run':8} {' '.join(self.words)}"


def has_systemd() -> bool:
    """Whether systemd is this machine's process 1."""
    return SYSTEMD.is_dir()


def look(unit: str = UNIT) -> State:
    """Ask systemd."""
    done = run(("systemctl", "show", f"--property={','.join(SHOWN)}", unit))
    said = dict(line.partition("=")[::2] for line in done.splitlines())
    pid = int(said.get("MainPID", "0") or 0)
    interpreter = ""
    with contextlib.suppress(OSError):
        interpreter = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    return State(
        loaded=said.get("LoadState") == "loaded",
        active=said.get("ActiveState") in ("active", "reloading", "activating"),
        stale=said.get("NeedDaemonReload") == "yes",
        pid=pid,
        interpreter=interpreter,
    )


def after_install(
    state: State, units_change: bool, program_changes: bool, interpreter: str, start: bool
) -> list[Action]:
    """What is to be done when everything is in its place."""
    actions = []
    if units_change or state.stale:
        actions.append(Action(RELOAD))
    if state.active:
        if state.interpreter != interpreter:
            actions.append(Action(("systemctl", "restart", UNIT)))
        elif program_changes:
            actions.append(Action(process=state.pid))
    elif start:
        actions.append(Action(("systemctl", "start", UNIT)))
    return actions


def before_uninstall(state: State) -> list[Action]:
    """What is to be done before anything goes."""
    return [Action(("systemctl", "stop", UNIT))] if state.active else []


def do(action: Action) -> None:
    """Do it; AnetconError with what systemd said when it fails."""
    if action.process:
        with contextlib.suppress(ProcessLookupError):
            os.kill(action.process, signal.SIGUSR2)
        return
    run(action.words)


def run(words: Sequence[str]) -> str:
    """What a command prints; AnetconError with its first line of complaint when it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise ProgramMissingError(f"cannot run {words[0]}: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[0].rstrip(".")
        where = f"; `journalctl -u {UNIT} -n 20` says why" if words[-1] == UNIT else ""
        raise AnetconError(f"`{' '.join(words)}` failed: {said}{where}")
    return done.stdout
