"""What the commits of a manifest add up to: which files count, and what retention removed. Pure.

A file counts from the commit that adds it until one that removes it. Of what `layout.slot_of_file` calls a slot (the
open connections, a month or part of another table) at most one file counts at a time. What a compaction adds has the
rows of what it removes, no more and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from anetcon.store import layout
from anetcon.store.content import Content
from anetcon.store.entry import Entry, Removed, Why, microseconds, rfc3339
from anetcon.store.saved import Counted

FIRST = "0" * 64
"""`prev` of the first line."""

GRACE = 3_600_000_000
"""Microseconds that a file which compaction replaced stays: a question of before may still open it."""


class WrongCommitError(Exception):
    """A commit that cannot be one behind those before it; says why."""


@dataclass
class State:
    """What the committed lines add up to.

    `connections` are the files of closed connections, oldest commit first; `snapshots` the others that count, by slot
    (`open`, `gaps/2026-11`, `routes/2026-11-20-2`). `seal` is the number of the last commit that had files, `through`
    the last sealed segment of each journal table; `imports` are the numbers of commits that were imports.

    A compaction of imports' files is one of `imports`, too. `leaving` are the files that compaction replaced in the
    last hour before the last commit, and when.

    `size`, `lines` and `head` are where the chain ends: bytes, lines, and the digest the next line must have as `prev`;
    `saved` is `seal` as the last line `state` found it.
    """

    seal: int = 0
    through: dict[str, int] = field(default_factory=dict)
    connections: Counted = field(default_factory=Counted)
    snapshots: dict[str, Entry] = field(default_factory=dict)
    size: int = 0
    lines: int = 0
    head: str = FIRST
    saved: int = 0
    removed: Removed | None = None
    imports: set[int] = field(default_factory=set)
    leaving: dict[str, int] = field(default_factory=dict)

    def of(self, kind: str) -> list[Entry]:
        """The entries of one kind that count, oldest first."""
        if kind == "connections":
            return list(self.connections)
        return [entry for entry in self.snapshots.values() if entry.kind == kind]

    def files(self) -> set[str]:
        """Every file that counts."""
        return {entry.file for entry in (*self.snapshots.values(), *self.connections)}

    def require(self, adds: Sequence[Entry], commit: Entry) -> None:
        """Raise WrongCommitError unless a commit can be the next."""
        closed, slots = _split(commit.removes)
        for slot, file in slots.items():
            if slot not in self.snapshots or self.snapshots[slot].file != file:
                raise WrongCommitError("removes a file that does not count")
        if closed and self.connections.without(closed):
            raise WrongCommitError("removes a file that does not count")
        if len(closed) + len(slots) < len(commit.removes):
            raise WrongCommitError("removes a file twice")
        if commit.seal != self.seal + 1 and (adds or commit.seal != self.seal):
            raise WrongCommitError("has the number of another commit")
        if len({entry.file for entry in adds}) < len(adds):
            raise WrongCommitError("adds a file twice")
        if commit.why == Why.COMPACTION:
            self._require_same(adds, self.connections.named(closed), commit)
        new = set[str]()
        for entry in adds:
            if layout.seal_of_file(entry.file) != commit.seal:
                raise WrongCommitError("adds a file of another commit")
            if entry.kind != "connections":
                slot = layout.slot_of_file(entry.file)
                if slot in new or (slot in self.snapshots and slot not in slots):
                    raise WrongCommitError("adds a file beside one that it is to take the place of")
                new.add(slot)

    def _require_same(self, adds: Sequence[Entry], removes: Sequence[Entry], commit: Entry) -> None:
        """Raise WrongCommitError unless a compaction has the rows that it takes the place of, and nothing else."""
        new = [entry for entry in adds if entry.kind == "connections"]
        if len({entry.seal in self.imports for entry in removes}) != 1 or commit.through != self.through:
            raise WrongCommitError("compacts what does not belong together")
        same = sum(entry.rows for entry in new) == sum(entry.rows for entry in removes)
        if all(entry.content for entry in (*new, *removes)):
            one, other = (Content.sum(Content.read(entry.content) for entry in some) for some in (new, removes))
            same &= one == other
        if not same:
            raise WrongCommitError("adds other rows than it removes, though it only compacts")

    def commit(self, adds: Sequence[Entry], commit: Entry) -> None:
        """Take a commit in, and the files that it adds."""
        closed, slots = _split(commit.removes)
        gone = [self.snapshots[slot] for slot in slots]
        removed = self.connections.remove(closed) if closed else ()
        for entry in adds:
            if entry.kind == "connections":
                self.connections.append(entry)
            else:
                slot = layout.slot_of_file(entry.file)
                slots.pop(slot, None)  # it keeps its place in the order
                self.snapshots[slot] = entry
        for slot in slots:
            del self.snapshots[slot]
        if commit.why == Why.RETENTION:
            self._remove(microseconds(commit.before or rfc3339(0)), removed, gone)
        elif commit.why == Why.IMPORT or any(entry.seal in self.imports for entry in removed):
            self.imports.add(commit.seal)
        time = microseconds(commit.time or rfc3339(0))
        self.leaving = {file: since for file, since in self.leaving.items() if since > time - GRACE}
        if commit.why == Why.COMPACTION:
            self.leaving |= dict.fromkeys(closed, time)
        self.seal, self.through = commit.seal, commit.through

    def _remove(self, before: int, closed: Iterable[Entry], others: Iterable[Entry]) -> None:
        """Take in what retention removed: of the other tables only parts have times."""
        old = self.removed or Removed(before, before, 0)
        closed = list(closed)
        dated = [*closed, *(entry for entry in others if entry.latest is not None)]
        starts = [0 if entry.start is None else microseconds(entry.start) for entry in dated]
        rows = old.rows + sum(entry.rows for entry in closed)
        self.removed = Removed(min([old.start, *starts]), max(old.before, before), rows)

    def reach(self, lines: int, size: int, head: str) -> None:
        """The chain ends here now, so many lines later."""
        self.lines, self.size, self.head = self.lines + lines, size, head

    def last_seal(self) -> int | None:
        """The last seal of the journal that has connections."""
        return self.connections.last_seal(self.imports)

    def in_place_of(self, adds: Iterable[Entry]) -> list[str]:
        """The files that these take the place of."""
        slots = (layout.slot_of_file(entry.file) for entry in adds if entry.kind != "connections")
        return [self.snapshots[slot].file for slot in slots if slot in self.snapshots]

    def touching(self, table: str, first: int | None, last: int | None) -> list[Entry]:
        """The files of a table but connections that are needed to tell what there was between two times.

        All whose rows begin by `last`: a later one may have the `to` of a row that an earlier one has without. Of the
        parts not those that have only earlier times: what lasted is in the next one, too. The current one has it all.
        """
        entries = self.of(table)
        return [entry for entry in entries[:-1] if entry.covers(None, last) and not entry.is_over(first)] + entries[-1:]

    def aging(self, before: int | None = None) -> list[tuple[int, Entry]]:
        """What goes by age and size, and the latest time of each; only what was over before a time."""
        dated = [(entry.end, entry) for entry in self.connections.ended(before)]
        dated += [(entry.latest, entry) for entry in self._parts()]
        found = [(microseconds(time), entry) for time, entry in dated if time is not None]
        return [(time, entry) for time, entry in found if before is None or time < before]

    def oldest(self) -> int | None:
        """The earliest time in `aging`."""
        parts = [microseconds(entry.latest) for entry in self._parts() if entry.latest is not None]
        closed = self.connections.total().oldest
        return min(parts if closed is None else [*parts, closed], default=None)

    def _parts(self) -> list[Entry]:
        """The parts of other tables that go by age and size; the current part stays: it has all that lasts."""
        return [e for table in layout.CUT_SHORT for e in self.of(table)[:-1] if e.latest is not None]

    def over(self, before: int) -> list[Entry]:
        """What retention removes at this time: also months of tables that nothing kept needs. The latest month of a
        table stays: it has all that lasts. Lines of older versions mean this, too, so it must stay as it is."""
        files = [entry for _, entry in self.aging(before)]
        month = rfc3339(before)[:7]
        for table in (*layout.CUT_SHORT, "listings"):
            months = [entry for entry in self.of(table)[:-1] if entry.latest is None]
            files += [entry for entry in months if layout.month_of_file(entry.file) < month]
        return files


def _split(files: Sequence[str]) -> tuple[set[str], dict[str, str]]:
    """Those of connections, and the others by their slots."""
    closed, slots = set(), {}
    for file in files:
        if layout.kind_of_file(file) == "connections":
            closed.add(file)
        else:
            slots[layout.slot_of_file(file)] = file
    return closed, slots
