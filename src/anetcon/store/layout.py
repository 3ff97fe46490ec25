"""Where everything of a store is: names, partitions, modes. Pure paths; reads and writes nothing, but `make_folder`.

    lock, status.json, ledger.jsonl        the keeper's
    journal/<table>/                       capture's segments (anetcon.journal)
    node=<node>/date=<day>/<seal>.parquet  connections that ended on that UTC day; began, where no end is recorded
    node=<node>/date=<day>/long-<seal>.parquet  those of them that lasted over an hour
    node=<node>/date=<day>/kept.<seal>.parquet  and long-kept.<seal>.parquet: what an import left of another's
    node=<node>/date=<day>/hour.<seal>.parquet  and day.<seal>.parquet, also long-: what compaction made of many
    compacting/                            what compaction writes aside
    open/<seal>.parquet                    connections open at the last seal
    gaps/<month>.<seal>.parquet            and so listings/: one file a month
    neighbours/<day>.<seal>.parquet        and so addresses/ and routes/: one file a day, <day>-2 and so on once one is
                                           full; what an older anetcon wrote of them is one file a month
    manifest.jsonl                         what counts of all these files (anetcon.store.manifest)
    manifest.state                         what its lines added up to some seals ago (anetcon.store.saved)
    followers/<name>.json                  how far a follower of the journal has come

A file name follows from the seal's number alone, so a seal that crashed is done again under the same names.
"""

from __future__ import annotations

import contextlib
import grp
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote

LONG = 3_600_000_000
"""A connection that lasted longer than these microseconds is in a file of its own (`long-`), so that a question about
a moment need not read every later file."""

LONG_PREFIX = "long-"

FOLDER_MODE = 0o750
FILE_MODE = 0o640
GROUP = "adm"

CUT_SHORT = ("addresses", "neighbours", "routes")
"""The tables whose rows last until an event ends them, which nobody hears while nothing is recorded. Their store files
are one a day or more, since others decide how many rows there are."""

MONTHLY = ("gaps", "listings")
"""The tables whose store files are one a month."""

INTERVALS = (*MONTHLY, *CUT_SHORT)
"""Every table but connections."""

SEALING_LOCK = "sealing.lock"
IMPORTING_LOCK = "importing.lock"
"""Of imports alone, for as long as one runs: what two of them found missing at once both would add."""

SPILLED = "spill-"
"""What the names of folders begin with that questions put things in for which memory has no room."""

JOURNAL = "journal"
COMPACTING = "compacting"
COMPACTING_LOCK = "compacting.lock"
"""Of compactions alone: one at a time."""

HOURLY, DAILY = "hour", "day"
"""What compaction makes one file of."""

NO_ROOM = 64 << 10
"""A file system with fewer bytes free than these is full."""

DAY = 86_400_000_000
"""Microseconds."""

_NAMES = re.compile(
    r"(?:node=[A-Za-z0-9_.~%-]*/date=\d{4}-\d\d-\d\d/(?:long-)?(?:kept\.|hour\.|day\.)?|open/"
    rf"|(?:{'|'.join(INTERVALS)})/\d{{4}}-\d\d\."
    rf"|(?:{'|'.join(CUT_SHORT)})/\d{{4}}-\d\d-\d\d(?:-\d{{1,9}})?\.)\d{{8,20}}\.parquet",
    re.ASCII,
)
_PART = re.compile(r"(\d{4}-\d\d-\d\d)(?:-(\d+))?\.", re.ASCII)


def sign_folder(store: Path) -> Path:
    """Where the keys and the checkpoints of a store are: beside it, and not for whoever writes the store."""
    store = store.absolute()
    return store.with_name(f"{store.name}-sign")


def journal_folder(store: Path, table: str) -> Path:
    """Folder of a journal table's segments."""
    return store / JOURNAL / table


def manifest_path(store: Path) -> Path:
    """The manifest."""
    return store / "manifest.jsonl"


def state_path(store: Path) -> Path:
    """What the manifest added up to some seals ago."""
    return store / "manifest.state"


def lock_path(store: Path) -> Path:
    """What the keeper locks for its whole life."""
    return store / "lock"


def status_path(store: Path) -> Path:
    """What the keeper says of itself."""
    return store / "status.json"


def unreadable_path(store: Path, time: str) -> Path:
    """Lines that an import which began at a time could not read."""
    return store / "import" / f"unreadable-{time}.log"


def followers_folder(store: Path) -> Path:
    """Where followers save what they know."""
    return store / "followers"


def follower_path(store: Path, name: str) -> Path:
    """A follower's saved position."""
    return followers_folder(store) / f"{name}.json"


def day_of(microseconds: int) -> str:
    """The UTC day of a time, as partitions name it."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).strftime("%Y-%m-%d")


def connections_file(node: str, day: str, seal: int, long: bool) -> str:
    """File of connections that ended on `day`, relative to the store."""
    return f"node={quote(node, safe='')}/date={day}/{LONG_PREFIX if long else ''}{seal:08d}.parquet"


def kept_file(file: str, seal: int) -> str:
    """File of what a seal leaves of a `connections_file`, relative to the store."""
    return str(Path(file).with_name(f"{LONG_PREFIX if is_long(file) else ''}kept.{seal:08d}.parquet"))


def compacted_file(file: str, span: str, seal: int) -> str:
    """File that has the rows of a `connections_file`, and of others of its folder, HOURLY or DAILY, relative to the
    store."""
    return str(Path(file).with_name(f"{LONG_PREFIX if is_long(file) else ''}{span}.{seal:08d}.parquet"))


def span_of_file(file: str) -> str:
    """What a `compacted_file` is one file of: HOURLY or DAILY; empty for any other."""
    first = Path(file).name.removeprefix(LONG_PREFIX).partition(".")[0]
    return first if first in (HOURLY, DAILY) else ""


def open_file(seal: int) -> str:
    """File of the connections open at a seal, relative to the store."""
    return f"open/{seal:08d}.parquet"


def interval_file(table: str, month: str, seal: int) -> str:
    """File of a month's rows of one of MONTHLY, relative to the store."""
    return f"{table}/{month}.{seal:08d}.parquet"


def part_file(table: str, day: str, part: int, seal: int) -> str:
    """A part, counted from 1, of a day's rows of one of CUT_SHORT, relative to the store."""
    return f"{table}/{day}{f'-{part}' if part > 1 else ''}.{seal:08d}.parquet"


def day_of_file(file: str) -> str:
    """The day of a `connections_file`."""
    return Path(file).parent.name.partition("=")[2]


def month_of_file(file: str) -> str:
    """The month of an `interval_file`, or of a `part_file`."""
    return Path(file).name[:7]


def files_of(store: Path) -> Iterator[Path]:
    """Every Parquet file of a store, also those left aside and of strangers."""
    folders = [store / "open", *(store / table for table in INTERVALS), *folders_of_day(store)]
    return (path for folder in folders for path in folder.glob("*.parquet*"))


def folders_of_day(store: Path, day: str = "*") -> Iterator[Path]:
    """Those of connections that ended on a day, of each node; of any day by default."""
    return store.glob(f"node=*/date={day}")


def kind_of_file(file: str) -> str:
    """What a file of this name, relative to the store, has: `connections`, `open` or the name of another table."""
    return "connections" if file.startswith("node=") else file[: file.find("/")]


def slot_of_file(file: str) -> str:
    """What there is one file of at a time: what is `open`, a month or a part of a table; of connections each."""
    if file.startswith("open/"):
        return "open"
    return file if file.startswith("node=") else file[: file.find(".")]


def part_of_file(file: str) -> tuple[str, int] | None:
    """Day and number of a `part_file`; None for any other."""
    found = _PART.match(Path(file).name)
    return (found[1], int(found[2] or 1)) if found else None


def is_named_so(file: str) -> bool:
    """Whether a manifest's file, relative to the store, has a name that is made here, and so is within the store."""
    return _NAMES.fullmatch(file) is not None


def seal_of_file(file: str) -> int | None:
    """The commit that wrote a Parquet file (or one left aside, `.new`) of this name, with or without its folders; None
    for a stranger's."""
    parts = file[file.rfind("/") + 1 :].removeprefix(LONG_PREFIX).removesuffix(".new").split(".")
    return int(parts[-2]) if len(parts) > 1 and parts[-1] == "parquet" and parts[-2].isdigit() else None


def is_long(file: str) -> bool:
    """Whether a connections file has those that lasted over an hour."""
    return Path(file).name.startswith(LONG_PREFIX)


def make_folder(folder: Path) -> None:
    """Make a folder of the store with its mode and group, and those above it within the store."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(FOLDER_MODE)
    give_to_group(folder)


def give_to_group(path: Path) -> None:
    """Let group `adm` read it, where there is one and we may."""
    number = group()
    if number is not None:
        with contextlib.suppress(PermissionError):
            os.chown(path, -1, number)


@cache
def group() -> int | None:
    """Number of the group whose members may read everything; None when there is none."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None
