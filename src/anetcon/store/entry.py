"""A line of the manifest, and which can be believed. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec

from anetcon.record import TABLES
from anetcon.store import layout


class Why(StrEnum):
    """What a commit is for."""

    SEAL = "seal"
    IMPORT = "import"
    RETENTION = "retention"
    COMPACTION = "compact"


COMMIT, STATE = "commit", "state"
OLD_COMMITS = (Why.SEAL, Why.IMPORT, Why.RETENTION)
"""Kinds of line that older versions wrote for a commit (`store.old_lines`)."""

WITHOUT_FILE = {COMMIT, STATE, *OLD_COMMITS}
"""Kinds of line that are of no file."""

KINDS = {"connections", "open", *layout.INTERVALS, *WITHOUT_FILE}
"""Every kind of line."""

MOST = 1 << 48
"""Rows, bytes and seals are fewer, so that sums of them are numbers too."""

_SHA256 = re.compile("[0-9a-f]{64}")
_CONTENT = re.compile("(?:[0-9a-f]{32})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A file that an import has read: its name as it is recorded (`-`: standard input), and of what was read of it, as
    it is on disk, the bytes and their SHA-256."""

    name: str
    bytes: int
    sha256: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: what is known of a file (`file` to `latest`), a commit, or the digest of a saved state.

    `start` and `end` (JSON: `from`, `to`) are the earliest start and the latest end of the file's rows, RFC 3339 UTC
    with microseconds; `end` is missing when rows are open or have none. The end of a line of text is its start here.
    `latest` is the latest time that rows of a part (`layout.part_file`) have, of either kind. `content` is the sum of
    the rows of connections (`store.content`).

    A commit adds the files of the lines between it and the commit before, and `removes` others. `through` is the last
    sealed segment of each journal table. `sources` are the files that an import read to their end since the line before
    and that brought rows, in this commit or in those before it. `before` is of a retention: what it removes had ended
    by then.

    A line of kind `state` has the `sha256` and `bytes` of `manifest.state`, which says what the `rows` lines before it
    add up to. Lines of other kinds, and `replaced`, are of `store.old_lines`.
    """

    prev: str
    kind: str
    why: str = ""
    seal: int
    file: str = ""
    sha256: str = ""
    bytes: int = 0
    rows: int = -1
    start: str | None = msgspec.field(name="from", default=None)
    end: str | None = msgspec.field(name="to", default=None)
    latest: str | None = None
    content: str = ""
    format: int = 0
    removes: tuple[str, ...] = ()
    through: dict[str, int] = {}
    replaced: tuple[str, ...] = ()
    sources: tuple[Read, ...] = ()
    before: str | None = None
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
            for text in (entry.start, entry.end, entry.latest, entry.before, entry.time)
            if text is not None
        ]
    except ValueError:
        return False
    sound = all(time.tzinfo is UTC for time in times) and 0 <= entry.bytes < MOST and 0 <= entry.seal < MOST
    if entry.kind not in WITHOUT_FILE:
        named = layout.is_named_so(entry.file) and layout.kind_of_file(entry.file) == entry.kind
        return sound and named and 0 <= entry.rows < MOST and _CONTENT.fullmatch(entry.content) is not None
    return (
        sound
        and all(map(layout.is_named_so, (*entry.removes, *entry.replaced)))
        and (entry.why != Why.RETENTION or entry.before is not None)
        and -1 <= entry.rows < MOST
        and entry.through.keys() <= TABLES.keys()
        and all(0 <= each.bytes < MOST and _SHA256.fullmatch(each.sha256) for each in entry.sources)
    )


def rfc3339(time: int) -> str:
    """A time in microseconds as RFC 3339 UTC."""
    return (_EPOCH + timedelta(microseconds=time)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def microseconds(text: str) -> int:
    """A time of the manifest as microseconds."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
