"""A line of the manifest, and which can be believed. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from anetcon.record import TABLES
from anetcon.store import layout

COMMITS = ("seal", "import", "retention", "state")
"""Kinds of lines that are of no file."""

KINDS = {"connections", "open", *layout.INTERVALS, *COMMITS}
"""Every kind of line."""

MOST = 1 << 48
"""Rows, bytes and seals are fewer, so that sums of them are numbers too."""

_SHA256 = re.compile("[0-9a-f]{64}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A file that an import has read: its name as it is recorded (`-`: standard input), and of what was read of it, as
    it is on disk, the bytes and their SHA-256."""

    name: str
    bytes: int
    sha256: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. Of kind `seal` or `import` it has `through` and `time`; of kind `retention` `before`, the number of
    `files` that it takes away, of their `rows` and `bytes`, and `time`; of kind `state` the `sha256` and `bytes` of
    `manifest.state`, which says what the `rows` lines before add up to; of any other kind what is known of its `file`.

    `replaced` are the files that a line of kind `import` takes the place of, `sources` those that were read to their
    end since the line before it and brought rows, in this line or the ones before it of the same import.

    `start` and `end` (JSON: `from`, `to`) are the earliest start and the latest end of the file's rows, RFC 3339 UTC
    with microseconds; `end` is missing when rows are open or have none. The end of a line of text is its start here.
    `latest` is the latest time that rows of a part (`layout.part_file`) have, of either kind.
    """

    prev: str
    kind: str
    seal: int
    file: str = ""
    sha256: str = ""
    bytes: int = 0
    rows: int = -1
    start: str | None = msgspec.field(name="from", default=None)
    end: str | None = msgspec.field(name="to", default=None)
    latest: str | None = None
    format: int = 0
    through: dict[str, int] = {}
    replaced: tuple[str, ...] = ()
    sources: tuple[Read, ...] = ()
    before: str | None = None
    files: int = 0
    time: str | None = None

    def covers(self, first: int | None, last: int | None) -> bool:
        """Whether the file may have rows between two times (microseconds; None: no bound)."""
        late = last is not None and self.start is not None and microseconds(self.start) > last
        early = first is not None and self.end is not None and microseconds(self.end) < first
        return not late and not early

    def is_over(self, first: int | None) -> bool:
        """Whether it is a part, and every time in it is before this one."""
        return first is not None and self.latest is not None and microseconds(self.latest) < first


class Removed(NamedTuple):
    """What retention has taken away until now: `rows` connections, and parts of other tables, from the earliest start
    of any to `before`."""

    start: int
    before: int
    rows: int


def is_sound(entry: Entry) -> bool:
    """Whether a line says what can be believed: times and numbers that are some, and files within the store."""
    try:
        times = [
            datetime.fromisoformat(text)
            for text in (entry.start, entry.end, entry.latest, entry.before)
            if text is not None
        ]
    except ValueError:
        return False
    commits = entry.kind in COMMITS
    files = entry.replaced if commits else (entry.file,)
    return (
        all(time.tzinfo is UTC for time in times)
        and all(map(layout.is_named_so, files))
        and -commits <= entry.rows < MOST
        and 0 <= entry.bytes < MOST
        and 0 <= entry.seal < MOST
        and entry.through.keys() <= TABLES.keys()
        and all(0 <= each.bytes < MOST and _SHA256.fullmatch(each.sha256) for each in entry.sources)
    )


def rfc3339(time: int) -> str:
    """A time in microseconds as RFC 3339 UTC."""
    return (_EPOCH + timedelta(microseconds=time)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def microseconds(text: str) -> int:
    """A time of the manifest as microseconds."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
