"""A store as views of DuckDB, for whoever asks in SQL: read only, and nothing else of the machine can be reached.

The views have what is sealed, in every format: `connections` (those open at the last seal too), `by_address` (a row
for each side of each of them), and `gaps` as of now. The journal is not in them: `missing` says how much that is.

Refuses every statement but SELECT, so nothing is written, and every file but those that the manifest names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from anetcon.errors import StoreError
from anetcon.record import TABLES, file_fields
from anetcon.store import macros, spill, sql
from anetcon.store.coverage import Question, coverage
from anetcon.store.reader import Store

BATCH_ROWS = 10_000


class WrongQueryError(Exception):
    """What DuckDB says against a query, or why it is not asked."""


class Missing(NamedTuple):
    """What an answer from the views lacks: gaps of the record as of now, and whether none of them hides a connection;
    rows that are not sealed, and since when they were written."""

    gaps: int
    complete: bool
    rows: int
    since: int | None


class Views:
    """The views of the store under `path`, as it is now."""

    def __init__(self, path: Path) -> None:
        store = Store(path)
        self.path = path
        self._sealed: list[str] = []
        self._duckdb = duckdb.connect(":memory:", config=_settings(path))
        self.missing = store.whole(lambda: self._made(store))
        self.slower = store.slower

    def ask(self, query: str) -> Iterator[pa.RecordBatch]:
        """The rows of one SELECT. Raises WrongQueryError, StoreError."""
        try:
            statements = self._duckdb.extract_statements(query)
            if len(statements) != 1:
                raise WrongQueryError("one SELECT at a time")
            if statements[0].type != duckdb.StatementType.SELECT:
                raise WrongQueryError("only SELECT is asked here: nothing writes to a store, nor changes the settings")
            yield from self._duckdb.sql(query).to_arrow_reader(BATCH_ROWS)
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise StoreError("the answer takes more memory than a question may: ask for less") from error
        except (duckdb.Error, OSError, pa.ArrowException) as error:  # what DuckDB meets may come through Arrow
            if isinstance(error, duckdb.IOException) or not all(map(os.path.exists, self._sealed)):
                raise StoreError(
                    f"a file of {self.path} was replaced, or is damaged: ask again, then run verify"
                ) from error
            raise WrongQueryError(str(error).splitlines()[0]) from error
        except RuntimeError as error:
            if "interrupted" in str(error):  # by Ctrl-C
                raise KeyboardInterrupt from error
            raise

    def _made(self, store: Store) -> Missing:
        now = store.snapshot()
        sealed = [*now.state.of("connections"), *now.state.of("open")]
        rows = f"({store.files(sealed)})" if sealed else _NOTHING
        covered = coverage(store, Question(None, None, [], (), everything=True))
        run = self._duckdb.execute
        run("SET GLOBAL TimeZone = 'UTC'")
        run("SET python_enable_replacements = false")
        run(macros.ADDRESSES)
        run(f"CREATE VIEW connections AS SELECT {macros.of_store()} FROM {rows}")  # noqa: S608
        run(f"CREATE VIEW by_address AS {macros.by_address('connections')}")
        self._duckdb.register("told", covered.gaps)
        columns = ", ".join(
            f'"{f.name}"' + ("::VARCHAR" if f.kind == "text" else "") + f' AS "{f.name}"' for f in TABLES["gaps"]
        )
        run(f"CREATE VIEW gaps AS SELECT {columns} FROM told")  # noqa: S608  (no table: nothing can be changed)
        self._sealed = [str(self.path / entry.file) for entry in sealed]
        files = ", ".join(map(sql.quoted, self._sealed))
        run(f"SET allowed_paths = [{files}]")
        run("SET enable_external_access = false")
        run("SET lock_configuration = true")
        return Missing(len(covered.gaps), covered.complete, *now.waiting("connections"))


def _settings(path: Path) -> dict[str, str | bool | int | float | list[str]]:
    return {"autoinstall_known_extensions": False, "autoload_known_extensions": False, **spill.settings(path)}


_KINDS = {"time": "TIMESTAMPTZ", "address": "BLOB"}
_KINDS |= {"u8": "SMALLINT", "u16": "INTEGER", "u32": "BIGINT", "u64": "BIGINT"}
_COLUMNS = ", ".join(f'NULL::{_KINDS.get(field.kind, "VARCHAR")} AS "{field.name}"' for field in file_fields("open"))
_NOTHING = f"(SELECT {_COLUMNS} WHERE false)"
