"""A small disk of a test's own: a tmpfs in a mount namespace that only the daemon and its holder are in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.daemon import Daemon


class SmallDisk:
    """A tmpfs of so many megabytes at `folder`, seen by those who enter its mount namespace; the machine's mounts are
    not changed. `outside` is where everybody else finds it, as long as this lives."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        backing = folder.with_name(folder.name + ".backing")
        backing.mkdir()
        script = (
            f"mount -t tmpfs -o size={megabytes}m,mode=750 anetcon-test {backing} && mount --bind {backing} {folder} "
            "&& echo mounted && read -r line"
        )
        command = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script]
        self.holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"mounted\n"
        self.enter = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt"]
        self.outside = Path(f"/proc/{self.holder.pid}/root{folder}")
        self.backing = Path(f"/proc/{self.holder.pid}/root{backing}")

    def run(self, *command: str) -> None:
        """Run a program where the disk is mounted."""
        subprocess.run([*self.enter, *command], check=True, timeout=20)

    def fill(self) -> Path:
        """Write a file until nothing more fits, also where the daemon gives something back meanwhile; that file."""
        path = self.backing / "somebody-elses"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        while self.free():
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while os.write(descriptor, b"x" * size):
                        pass
        os.close(descriptor)
        return path

    def free(self) -> int:
        """Bytes that are free."""
        return shutil.disk_usage(self.backing).free

    def close(self) -> None:
        """End the holder; the mounts go with the last process in their namespace."""
        self.holder.communicate(b"\n", timeout=10)


@contextmanager
def on_disk(auditor: Daemon, megabytes: int) -> Iterator[SmallDisk]:
    """Have a daemon that was not started yet keep its store on a small disk; it is stopped at the end."""
    disk = SmallDisk(auditor.store, megabytes)
    auditor.store, auditor.within = disk.outside, disk.enter
    try:
        yield disk
    finally:
        auditor.stop()
        disk.close()
