"""`anetcon run`: resolve the settings, then become the keeper.

All libraries are needed only to read the configuration: the program is replaced by one that imports next to nothing.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

from anetcon.cli.options import with_options
from anetcon.cli.overrides import DaemonOverrides
from anetcon.cli.version import VersionOption
from anetcon.errors import AlreadyRunningError, PermissionMissingError, StoreError
from anetcon.keeper.logfile import require_writable
from anetcon.link import capabilities
from anetcon.store.coverage import running
from anetcon.store.layout import make_folder
from anetcon.system.process import python

KEEPER = "anetcon.keeper.main"
READ_ONLY = (
    "mount it writable; to a service only its own folders are: `anetcon install` adds those of the configuration"
)


@with_options(DaemonOverrides)
def run(
    overrides: DaemonOverrides,
    version: VersionOption = False,  # noqa: ARG001 - typer sees to it
) -> None:
    """Run the audit daemon in the foreground.

    It stops at SIGTERM and SIGINT. It reads its configuration again at SIGHUP. It replaces itself in place at SIGUSR2.
    """
    loaded = overrides.load()
    capabilities.require(loaded.config.audit.engine)
    store = Path(loaded.config.store.path)
    require_mounted(store, Path("/etc/fstab").read_text() if Path("/etc/fstab").exists() else "")
    if (owner := running(store)) is not None and _lives(owner):
        raise AlreadyRunningError(
            f"the daemon with process id {owner} owns the store {store}: stop it first, or give another --store"
        )
    capabilities.become(store, loaded.config.audit.engine)
    for folder in [store, *([Path(loaded.config.logs.dir)] if loaded.config.logs.enabled else [])]:
        _make(folder)
    if loaded.config.logs.file:
        os.umask(0o027)
        if Path(loaded.config.logs.file).parent == Path(loaded.config.logs.dir):
            _make(Path(loaded.config.logs.dir))
        require_writable(loaded.config.logs.file)
    _become_keeper(loaded.resolved(), overrides.arguments())


def require_mounted(store: Path, fstab: str) -> None:
    """Raise StoreError when the store is to be on a file system of its own (fstab(5)) that is not there: its records
    are, and new ones would fill the disk under it."""
    for line in fstab.splitlines():
        fields = line.split("#")[0].split()
        point = Path(fields[1]) if len(fields) > 1 else Path("/")
        if point != Path("/") and store.is_relative_to(point) and not os.path.ismount(point):
            raise StoreError(f"{point} is not mounted, as /etc/fstab has it, and the store {store} is on it: mount it")


def _lives(owner: int) -> bool:
    """Whether the owner of a lock is more than a name: the children of one that was killed die in a moment, and the
    keeper waits for that."""
    return not owner or Path("/proc", str(owner)).exists()


def _make(folder: Path) -> None:
    try:
        make_folder(folder)
    except PermissionError as error:
        raise PermissionMissingError(f"cannot make the folder {folder}: {error.strerror}") from error
    except OSError as error:
        advice = f"; {READ_ONLY}" if error.errno == errno.EROFS else ""
        raise StoreError(f"cannot make the folder {folder}: {error.strerror}{advice}") from error
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise StoreError(f"cannot write in the folder {folder}: its file system is read-only; {READ_ONLY}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionMissingError(f"cannot write in the folder {folder}: run the daemon as its owner")


def _become_keeper(resolved: dict[str, Any], options: list[str]) -> None:
    descriptor = os.memfd_create("anetcon-settings")
    os.write(descriptor, json.dumps(resolved).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    sys.stdout.flush()
    command = python(KEEPER, "--settings", str(descriptor), *(["--", *options] if options else []))
    try:
        os.execv(command[0], command)  # noqa: S606 - no shell wanted
    except OSError as error:
        raise PermissionMissingError(
            f"the owner of the store cannot execute {command[0]}: {error.strerror}; have the program lie where all may "
            "read it, or give root a store of its own by --store"
        ) from error
