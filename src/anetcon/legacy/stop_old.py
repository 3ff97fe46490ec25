"""Ending the bash ANetCon so that it cannot take its chain away: its rules print on until the daemon has its own, or
needs none.

A script that is killed runs no trap. It is killed while it sleeps between two looks, so that no rule is half written.
Its process is held by a descriptor from before it is looked at: a number that means another process by then gets no
signal. Refuses to end anything but a script that is still what it was found to be.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from anetcon.doctor import processes
from anetcon.install import service
from anetcon.legacy.find import Running

CALM_SECONDS = 60.0
"""How long to wait for it to sleep: it looks at one namespace after the other, with several programs each."""
DEAD_SECONDS = 5.0
RUNTIME = Path("/run/systemd/system")


def end(running: Running, just_before: Callable[[], None] = lambda: None) -> None:
    """Kill the script, and what it waits for, as soon as it sleeps."""
    with contextlib.suppress(ProcessLookupError):
        held = os.pidfd_open(running.pid)
        try:
            asleep = _wait_asleep(running)
            if asleep is None:
                return
            just_before()
            signal.pidfd_send_signal(held, signal.SIGKILL)
            for child in asleep:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        finally:
            os.close(held)
    _wait_gone(running.pid)


def end_unit(unit: str) -> None:
    """Stop another unit that runs the script, in the same way, and have it not start again."""
    with killed_when_stopped(unit):
        systemctl("stop", unit)
        systemctl("disable", unit)


@contextlib.contextmanager
def killed_when_stopped(unit: str) -> Iterator[None]:
    """Inside the block systemd stops a unit by SIGKILL, and runs nothing of it for that."""
    folder = RUNTIME / f"{unit}.d"
    drop_in = folder / "90-anetcon-takeover.conf"
    folder.mkdir(parents=True, exist_ok=True)
    drop_in.write_text("[Service]\nKillSignal=SIGKILL\nExecStop=\nExecStopPost=\n")
    try:
        systemctl("daemon-reload")
        yield
    finally:
        drop_in.unlink()
        with contextlib.suppress(OSError):
            folder.rmdir()
        systemctl("daemon-reload")


def begin_again(running: Running) -> None:
    """Start a script that nobody but a person had started."""
    nothing = subprocess.DEVNULL
    words = ["setsid", "--fork", *running.words]
    subprocess.run(words, cwd=running.folder, stdin=nothing, stdout=nothing, stderr=nothing, check=True)


def systemctl(*words: str) -> None:
    """Have systemd do it. AnetconError with what it says when it does not."""
    service.run(("systemctl", *words))


def _wait_asleep(running: Running) -> list[int] | None:
    """Its children once they are nothing but a sleep, or when that takes too long; None: it is not that any more."""
    deadline = time.monotonic() + CALM_SECONDS
    while True:
        every = processes.every()
        if running.pid not in every or every[running.pid].words != running.words:
            return None
        children = [each for each in every.values() if each.parent == running.pid and each.state != "Z"]
        sleeping = [each.pid for each in children if each.name == "sleep"]
        if len(sleeping) == len(children) == 1 or time.monotonic() > deadline:
            return sleeping
        time.sleep(0.02)


def _wait_gone(pid: int) -> None:
    deadline = time.monotonic() + DEAD_SECONDS
    while time.monotonic() < deadline and (found := processes.every().get(pid)) and found.state != "Z":
        time.sleep(0.02)
