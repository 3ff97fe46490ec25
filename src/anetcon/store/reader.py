"""One view of store and journal: every connection once, whether it is sealed, still open or only just in the journal.

Needs no daemon and no lock, only read access. A question, with all its parts (`Store.whole`), is answered from one
state of the store (`snapshot`): the files the manifest names that may have an answer (by their time bounds: a
connection is in a file of the day it ended, and one that lasted over an hour in one of its own, so a moment months ago
costs a handful of files), and, merged by identity, what was open at the last seal with everything the journal has
since. When the sealer works meanwhile and something vanishes, the whole question starts again from a new state.

Refuses to write, and to guess: a file that cannot be read is a StoreError. What goes into SQL comes from `store.sql`,
from the field table and from the manifest, each quoted (so S608, which sees only strings, is wrong here).
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import duckdb
import numpy as np
import pyarrow as pa

from anetcon import formats, identity
from anetcon.errors import StoreError
from anetcon.identity import connections
from anetcon.identity.tuples import columns_of
from anetcon.record import TABLES, arrow_schema
from anetcon.store import layout, parquet, spill, sql
from anetcon.store.entry import Entry, Removed, microseconds
from anetcon.store.snapshot import Snapshot, VanishedError
from anetcon.store.state import State

ATTEMPTS = 20
"""How often a question starts again when the sealer is faster."""

BATCH_ROWS = 100_000

REMEMBERED = 300_000_000
"""Microseconds before the last seal's newest END: repeats of what ended since can still come."""

Answer = TypeVar("Answer")


class Rows:
    """The rows of an answer as they come, to be read once. They come in an order, so when the first batch is there,
    which is read here, all files have been: what is removed from then on does no harm. Raises what the reader raises.
    """

    def __init__(self, reader: pa.RecordBatchReader, path: Path) -> None:
        self._reader, self._path = reader, path
        self._first = next(reader, None)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        first, self._first = self._first, None
        if first is None:
            return
        yield first
        try:
            yield from self._reader
        except RuntimeError as error:
            raise _what(error) from None
        except (OSError, pa.ArrowException, duckdb.Error) as error:
            raise StoreError(_unreadable(self._path, error)) from error

    def read_all(self) -> pa.Table:
        """All of them."""
        return pa.Table.from_batches(list(self), self._reader.schema)


class Store:
    """The records under `path`, of one daemon."""

    def __init__(self, path: Path) -> None:
        require_store(path)
        self.path = path
        self.slower = ""
        """Why the last question took longer than it need, in a sentence; empty when it did not."""
        self._now: Snapshot | None = None
        self._checked: set[str] = set()
        """Files that were found to be as the manifest says."""
        self._duckdb = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                **spill.settings(path),
            },
        )
        self._duckdb.execute("SET GLOBAL TimeZone = 'UTC'")
        weakref.finalize(self, self._duckdb.close)  # which removes temporary files, and ends its threads

    def connections(
        self,
        condition: str = sql.EVERYTHING,
        since: int | None = None,
        until: int | None = None,
        result: str = sql.EVERYTHING,
        limit: int = 0,
    ) -> Rows:
        """Connections that were open at some time from `since` to `until` (microseconds), by start; those that are one
        line of text, whose end is not known, were so at their start alone.

        `condition` may speak of what a connection's start and end share (node, netns, protocol, addresses, ports): it
        is asked before they are merged. `result` may speak of everything.
        """
        bounds = sql.open_between(since, until)

        def ask(now: Snapshot) -> Rows:
            closed = now.state.connections.covering(since, until)
            live = self._live(now, condition)
            cursor = self._duckdb.cursor()
            cursor.register("live", formats.as_files(live, "open"))
            query = f"SELECT * FROM live WHERE {sql.every([*bounds, result])}"  # noqa: S608
            if closed:
                files = self.files(closed)
                query += f" UNION ALL {files} WHERE {sql.every([condition, *bounds, result])}"
            first = f" LIMIT {limit:d}" if limit else ""
            query = f'SELECT * FROM ({query}) ORDER BY "start", src_ip, src_port{first}'  # noqa: S608
            reader = cursor.sql(query).to_arrow_reader(BATCH_ROWS)
            try:
                return Rows(reader, self.path)
            except (OSError, pa.ArrowException) as error:  # what DuckDB meets comes through Arrow, as a text
                if all((self.path / entry.file).exists() for entry in closed):
                    raise StoreError(_unreadable(self.path, error)) from error
                raise VanishedError(str(error)) from error

        return self._consistent(ask)

    def begun(
        self, columns: Sequence[str], condition: str, since: int, until: int, among: pa.Table, without: Collection[str]
    ) -> pa.Table:
        """Some columns of every connection that began from `since` to `until` and is equal to a row of `among` in the
        columns of that, but for those in these files; and where each is: `file`, null for the journal, and `row`."""
        bounds = [condition, f'"start" BETWEEN {sql.timestamp(since)} AND {sql.timestamp(until)}']
        chosen, same = (", ".join(f'"{name}"' for name in names) for names in (columns, among.column_names))

        def ask(now: Snapshot) -> pa.Table:
            closed = [e for e in now.state.connections.covering(since, until) if e.file not in without]
            sources = [self.files(closed, places=True)] if closed else []
            self._duckdb.register("live", formats.as_files(self._live(now, condition), "open"))
            self._duckdb.register("among", among)
            sources.append("SELECT *, NULL::VARCHAR AS file, NULL::BIGINT AS row FROM live")
            rows = f"SELECT {chosen}, file, row FROM ({' UNION ALL '.join(sources)}) WHERE {sql.every(bounds)}"  # noqa: S608
            query = f"SELECT * FROM ({rows}) SEMI JOIN among USING ({same})"  # noqa: S608
            return formats.typed(self._duckdb.sql(query).to_arrow_table(), "connections")

        return self._consistent(ask)

    def seen(self, condition: str, since: int, until: int) -> pa.Table:
        """Each node and namespace that has such connections at some time from `since` to `until`, `from` the first
        start `to` the last end; far in the future while one is open. `condition` as in `connections`."""
        last = f"""CASE WHEN "end" IS NULL AND end_reason IS NULL THEN {sql.timestamp(1 << 62)}
            ELSE coalesce("end", "start") END"""
        columns = f'node::VARCHAR AS node, netns::VARCHAR AS netns, min("start") AS "from", max({last}) AS "to"'
        chosen = sql.every([condition, *sql.open_between(since, until)])
        return self.asked(f"SELECT {columns} FROM rows WHERE {chosen} GROUP BY ALL", since, until, condition)  # noqa: S608

    def asked(
        self,
        query: str,
        since: int | None,
        until: int | None,
        condition: str = sql.EVERYTHING,
        tables: Mapping[str, pa.Table] = MappingProxyType({}),
    ) -> pa.Table:
        """What SQL makes of these tables and of `rows`: the connections that may have been open at some time from
        `since` to `until`, and that `condition` may hold for, as in `connections`."""

        def ask(now: Snapshot) -> pa.Table:
            for name, table in tables.items():
                self._duckdb.register(name, table)
            self._duckdb.register("live", formats.as_files(self._live(now, condition), "open"))
            closed = now.state.connections.covering(since, until)
            sources = ["SELECT * FROM live", *([self.files(closed)] if closed else [])]
            return self._duckdb.sql(f"WITH rows AS ({' UNION ALL '.join(sources)}) {query}").to_arrow_table()

        return self._consistent(ask)

    def intervals(
        self, table: str, condition: str = sql.EVERYTHING, since: int | None = None, until: int | None = None
    ) -> pa.Table:
        """Rows of any table but connections that touch the time from `since` to `until`, by `from`.

        None goes on where recording stopped: what was found there afterwards is another row."""
        bounds = []
        if until is not None:
            bounds.append(f'("from" IS NULL OR "from" <= {sql.timestamp(until)})')
        if since is not None:
            bounds.append(f'("to" IS NULL OR "to" >= {sql.timestamp(since)})')

        def ask(now: Snapshot) -> pa.Table:
            needed = now.state.touching(table, since, until)
            # Of parts but the current one only what ended: what lasted when one was full is in the next one, too.
            past = [entry for entry in needed[:-1] if entry.latest is not None]
            others = [entry for entry in needed if entry not in past]
            rows = [self._journal(table, now, condition), self._sealed(table, others, condition)]
            rows.append(self._sealed(table, past, sql.every([condition, '"to" IS NOT NULL', *bounds])))
            return identity.merge_intervals(pa.concat_tables(rows))

        found = self._consistent(ask)
        if table in layout.CUT_SHORT and len(found):
            found = identity.cut_intervals(found, self.intervals("gaps", sql.text_in("cause", identity.SILENT)))
        self._duckdb.register("live", found)
        # Dictionaries would come in the order of their codes: as text they come in that of the alphabet.
        columns = [f'"{f.name}"' + ("::VARCHAR" if f.kind == "text" else "") for f in TABLES[table]]
        order = ", ".join(['"from" NULLS FIRST', *columns])
        return self._duckdb.sql(
            f"SELECT * FROM live WHERE {sql.every(bounds)} ORDER BY {order}"  # noqa: S608
        ).to_arrow_table()

    def open_at_seal(self) -> tuple[pa.Table, int]:
        """The connections that were open at the last seal, as the journal has rows, and the last segment sealed."""

        def ask(now: Snapshot) -> tuple[pa.Table, int]:
            return self._sealed("connections", now.state.of("open")), now.state.through.get("connections", 0)

        return self._consistent(ask)

    def names(self, column: str, table: str) -> set[str]:
        """Every node or namespace (`column`) that a table tells of."""

        def ask(now: Snapshot) -> set[str]:
            self._duckdb.register("live", self._journal(table, now, sql.EVERYTHING).select([column]))
            sources = ["live"]
            if sealed := [*now.state.of(table), *(now.state.of("open") if table == "connections" else ())]:
                sources.append(f"({self.files(sealed)})")
            rows = " UNION ALL ".join(f"SELECT {column}::VARCHAR AS name FROM {source}" for source in sources)  # noqa: S608
            found = self._duckdb.sql(f"SELECT DISTINCT name FROM ({rows}) WHERE name IS NOT NULL").to_arrow_table()  # noqa: S608
            return set(found["name"].to_pylist())

        return self._consistent(ask)

    def removed(self) -> Removed | None:
        """What retention has taken away until now."""
        return self._consistent(lambda now: now.state.removed)

    def select(self, rows: pa.RecordBatch, condition: str) -> pa.Table:
        """Those of some rows of the journal that a condition holds for."""
        self._duckdb.register("live", pa.Table.from_batches([rows]))
        return self._duckdb.sql(f"SELECT * FROM live WHERE {condition}").to_arrow_table()  # noqa: S608

    def whole(self, ask: Callable[[], Answer]) -> Answer:
        """Answer a question of several parts from one state, however often the sealer commits another meanwhile."""
        return self._consistent(lambda _: ask())

    def snapshot(self) -> Snapshot:
        """The state that the question is asked of. Within `whole`."""
        return self._consistent(lambda now: now)

    def _consistent(self, ask: Callable[[Snapshot], Answer]) -> Answer:
        """Answer from the state of the question that this is a part of, or from one of its own."""
        if self._now is not None:
            return ask(self._now)
        reason: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                self._now = Snapshot(self.path)
                self.slower = self._now.slower
                return ask(self._now)
            except (VanishedError, FileNotFoundError, duckdb.IOException) as error:
                reason = error
            except OSError as error:
                raise StoreError(f"cannot read {error.filename or self.path}: {error.strerror}") from error
            except (duckdb.Error, pa.ArrowException, MemoryError) as error:
                raise StoreError(_unreadable(self.path, error)) from error
            except RuntimeError as error:
                raise _what(error) from None
            finally:
                self._now = None
        raise StoreError(_unreadable(self.path, reason)) from reason

    def _live(self, now: Snapshot, condition: str) -> pa.Table:
        """Connections that are in no closed file: open at the last seal or in the journal since, one row each.

        What the journal repeats of a connection sealed a moment ago is none: the latest closed ones are merged too.
        """
        journal = self._journal("connections", now, condition)
        opened = self._sealed("connections", now.state.of("open"), condition)
        latest = self._latest(now.state, condition) if len(journal) else journal
        rows = pa.concat_tables([latest, opened, journal]).unify_dictionaries().combine_chunks()
        sealed = np.arange(len(rows)) < len(latest)
        settled = connections.settle(columns_of(rows) | {"sealed": sealed})
        kept = np.concatenate((settled.ended, settled.open))
        return connections.mend(rows, settled).take(pa.array(kept[~sealed[kept]]))

    def _latest(self, state: State, condition: str) -> pa.Table:
        """What ended in the last minutes before the last seal; as much as the sealer remembers, or more."""
        last = state.last_seal()
        ends = [microseconds(entry.end) for entry in state.connections.of_seals([last] if last else []) if entry.end]
        since = max(ends, default=0) - REMEMBERED
        entries = state.connections.covering(since, None)
        return self._sealed("connections", entries, sql.every([condition, f'"end" >= {sql.timestamp(since)}']))

    def _sealed(self, table: str, entries: Sequence[Entry], condition: str = sql.EVERYTHING) -> pa.Table:
        """Rows of some of a table's files, in the journal's schema."""
        schema = arrow_schema(table)
        if not entries:
            return schema.empty_table()
        query = f"{self.files(entries)} WHERE {condition}"
        return self._duckdb.sql(query).to_arrow_table().cast(schema)

    def _journal(self, table: str, now: Snapshot, condition: str) -> pa.Table:
        """Rows of the journal that are not sealed."""
        rows = now.journal(table)
        if condition == sql.EVERYTHING or not len(rows):
            return rows
        # Asking for numbers of rows reads only the condition's columns, and the rows keep their dictionaries. (Nothing
        # else tells which row an answer is of: DuckDB makes a join of IN with five values, and that keeps no order.)
        mask = np.zeros(len(rows), np.bool_)
        self._duckdb.register("journal", rows.append_column("row_number", pa.array(np.arange(len(rows)))))
        query = f"SELECT row_number FROM journal WHERE {condition}"  # noqa: S608
        mask[self._duckdb.sql(query).to_arrow_table().column(0).to_numpy()] = True
        return rows.filter(pa.array(mask))

    def files(self, entries: Sequence[Entry], *, places: bool = False) -> str:
        """The SELECT of files of one table; with where each row is, if wanted."""
        parquet.require_as_sealed(self.path, [entry for entry in entries if entry.file not in self._checked])
        self._checked.update(entry.file for entry in entries)
        return _select(self.path, entries, places=places)


def _select(path: Path, entries: Sequence[Entry], *, places: bool) -> str:
    """The SELECT of files of one table, which may be of several formats."""
    parts = []
    for number, kind in sorted({(entry.format, entry.kind) for entry in entries}):
        formats.require(number, path)
        these = [entry for entry in entries if (entry.format, entry.kind) == (number, kind)]
        names = ", ".join(sql.quoted(str(path / entry.file)) for entry in these)
        chosen, more = formats.selected(kind, number), ""
        if places:
            chosen += f", substr(filename, {len(str(path)) + 2}) AS file, file_row_number AS row"
            more = ", filename = true, file_row_number = true"
        parts.append(f"SELECT {chosen} FROM read_parquet([{names}], hive_partitioning = false{more})")  # noqa: S608
    return f"SELECT * FROM ({' UNION ALL '.join(parts)})"  # noqa: S608


def _what(error: RuntimeError) -> BaseException:
    """What DuckDB raises for Ctrl-C in the middle of a query is Ctrl-C."""
    return KeyboardInterrupt() if "interrupted" in str(error) else error


def _unreadable(store: Path, error: Exception | None) -> str:
    """What to say of an error of DuckDB or Arrow: which file it was, as far as its text tells, and what to do."""
    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError) or "Out of Memory" in text:
        return f"the answer takes more memory than a question to {store} may: ask about less time, or with filters"
    named = re.search(re.escape(str(store)) + r"/[\w=./%~-]+", text)
    file = Path(named[0].rstrip(".")) if named else store
    if not file.exists():
        return f"cannot read {file}, which the store's manifest names: it is gone; restore it from a backup"
    if not os.access(file, os.R_OK):
        return f"cannot read {file}: be root or a member of group {layout.GROUP}"
    return f"cannot read {file}: it is not as it was written; restore it from a backup"


def require_store(path: Path) -> None:
    """Raise StoreError with what to do when there is no store, or none that we may read."""
    try:
        found = {entry.name for entry in path.iterdir()}
        if {layout.JOURNAL, layout.manifest_path(path).name} & found:
            return
    except PermissionError:
        raise StoreError(f"cannot read the store {path}: be root or a member of group {layout.GROUP}") from None
    except OSError:
        pass
    raise StoreError(f"there is no store in {path}: name its folder with --store, or start the daemon: anetcon run")
