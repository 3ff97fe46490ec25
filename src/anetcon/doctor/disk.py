"""Where the record is kept: room against the growth seen, inodes, the kind of file system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anetcon.doctor.finding import Finding, Severity, unchecked
from anetcon.doctor.host_resources import mount_of
from anetcon.doctor.machine import Machine
from anetcon.store import layout
from anetcon.store.limits import Limits

GIB = 1 << 30
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "9p", "afs", "lustre"}
VOLATILE = {"tmpfs", "ramfs", "devtmpfs"}
DAYS = 7
"""Days of records that the growth is taken from, and days that the room should last."""


@dataclass(frozen=True)
class Room:
    """What is left on a file system."""

    free: int
    total: int
    inodes: int | None
    """None: the file system makes them as it needs."""


def room(path: Path) -> Room:
    """What is left where a path is. Raises OSError."""
    found = os.statvfs(path)
    return Room(
        found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail if found.f_files else None
    )


def nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def disk(machine: Machine) -> Iterator[Finding]:
    """The store's file system."""
    store = machine.store
    try:
        left, growth = room(nearest(store)), growth_of(store, machine.now)
    except OSError as error:
        yield unchecked("disk", f"cannot look at {store}: {error.strerror}", "be root or a member of group adm")
        return
    yield from space(store, left, growth, machine)
    yield from kind(store, machine)
    yield from writable(store, machine)


def space(store: Path, left: Room, growth: int | None, machine: Machine) -> Iterator[Finding]:
    """Whether the room lasts."""
    found = f"{left.free / GIB:.1f} GiB free at {store}"
    found += f", {growth / GIB:.2f} GiB a day recorded lately" if growth is not None else ""
    limits = Limits.of(dict(machine.resolved["store"]))
    floor = limits.floor(left.total)
    days = (left.free - floor) / growth if growth else None
    means = (
        f"below {floor / GIB:.2f} GiB free the daemon removes the oldest records; on a full disk connections wait in "
        "memory until that is full too"
    )
    bounded = limits.size is not None or limits.age is not None
    remedy = "make room, or limit how much is kept: " + machine.setting("store.max_gigabytes", f"{_half(left.free)}")
    if left.free < min(floor, GIB) // 10 or (days is not None and days < 1 and not bounded):
        yield Finding("disk", Severity.PROBLEM, found, means, remedy)
    elif left.free < max(floor, GIB // 2) or (days is not None and days < DAYS and not bounded):
        yield Finding("disk", Severity.WARNING, found, means, remedy)
    elif left.inodes is not None and left.inodes < 10_000:
        found = f"{left.inodes} inodes are free at {store}"
        remedy = f"see what takes them: `du --inodes -x -d 3 {store} | sort -n | tail`"
        yield Finding("disk", Severity.WARNING, found, means, remedy)
    else:
        yield Finding("disk", Severity.OK, found)


def _half(free: int) -> int:
    """Gigabytes for a limit that leaves as much free."""
    return max(1, free // 2_000_000_000)


def growth_of(store: Path, now: float) -> int | None:
    """Bytes of a day's sealed connections: the largest of the last days, today left out; None without any."""
    largest = None
    for back in range(1, DAYS + 1):
        day = layout.day_of(int((now - back * 86400) * 1_000_000))
        for folder in layout.folders_of_day(store, day):
            size = sum(entry.stat().st_size for entry in os.scandir(folder))
            largest = max(size, largest or 0)
    return largest


def kind(store: Path, machine: Machine) -> Iterator[Finding]:
    """Whether the file system keeps what it is given."""
    mount = mount_of(nearest(store).resolve(), machine.text("/proc/self/mountinfo"))
    if mount is None:
        return
    if mount.kind in VOLATILE:
        means = "the record is gone at the next boot, and takes memory until then"
        remedy = f"stop the daemon, mount a disk at {store}, and start it again"
        yield Finding("disk", Severity.WARNING, f"{store} is on a {mount.kind}", means, remedy)
    elif mount.kind in NETWORK:
        means = "when the server hangs, flushes wait and events pile up; locks may not hold between machines"
        remedy = f"stop the daemon, mount a local disk at {store}, and start it again"
        yield Finding("disk", Severity.WARNING, f"{store} is on {mount.kind}, over the network", means, remedy)
    else:
        yield Finding("disk", Severity.OK, f"{store} is on {mount.kind}")
    if "ro" in mount.options:
        means = "nothing can be recorded"
        remedy = f"mount it writable: `mount -o remount,rw {mount.point}`"
        yield Finding("disk", Severity.PROBLEM, f"{mount.point} is mounted read-only", means, remedy)


def writable(store: Path, machine: Machine) -> Iterator[Finding]:
    """Whether the daemon, which is root, could write; whoever asks without root is not told."""
    folders = [store, *([Path(machine.resolved["logs"]["dir"])] if machine.resolved["logs"]["enabled"] else [])]
    for folder in folders if os.geteuid() == 0 else []:
        if folder.exists() and not folder.is_dir():
            means, remedy = "the daemon cannot start", f"move it away: `mv {folder} {folder}.old`"
            yield Finding("disk", Severity.PROBLEM, f"{folder} is not a folder", means, remedy)
    for name, sink in machine.resolved.get("sinks", {}).items() if os.geteuid() == 0 else []:
        path = Path(sink["to"].removeprefix("file:"))
        if path.exists() and not path.is_file():
            means, remedy = f"sink {name} gets nothing; it catches up later", f"move it away: `mv {path} {path}.old`"
            yield Finding("disk", Severity.PROBLEM, f"{path} is not a file", means, remedy)


def journal(machine: Machine) -> Iterator[Finding]:
    """Whether sealing keeps up, and whoever reads the journal late: segments that are still there after hours."""
    minutes = machine.resolved["store"]["seal_minutes"]
    folder = layout.journal_folder(machine.store, "connections")
    try:
        ages = [machine.now - entry.stat().st_mtime for entry in os.scandir(folder)]
    except OSError:
        return
    waiting = [age for age in ages if age > 6 * 60 * minutes + 3600]
    if waiting and machine.daemon.runs:
        found = f"{len(waiting)} files of the journal are still there, the oldest after {max(waiting) / 3600:.0f} hours"
        means = "sealing fails, or text logs or a sink are far behind: nothing is lost, but the journal grows"
        remedy = "see why the follower fails, in the daemon's log: `journalctl -u anetcon | grep anetcon-follow`"
        yield Finding("sealing", Severity.WARNING, found, means, remedy)
