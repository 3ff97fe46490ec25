"""Everything that prints records: --format table, json, jsonl or csv.

Off a terminal nothing is wrapped, cut or coloured, and nothing is printed row by row. On one, rich lays tables out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import typer

from anetcon.query import as_text
from anetcon.record import TABLES, Field, Origin, StartIs, label
from anetcon.system.printable import visible


class Format(StrEnum):
    """Format of what is printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="Format of what is printed.", show_default=True)]

RICH_ROWS = 10_000
"""A larger table is plain text on a terminal too: rich takes a fraction of a millisecond a row."""

VERSION = 1
"""Number of the shape of JSON answers."""


class Records:
    """Prints the rows of one table in one format, as they come; `close` prints what comes last.

    `head` and `tail` are the other keys of a JSON answer, before and behind the rows, which are under the table's name.
    """

    def __init__(
        self,
        table: str,
        form: Format,
        head: Mapping[str, Any] | None = None,
        live: bool = False,
        to: TextIO | None = None,
    ) -> None:
        self.table = table
        self.fields: Sequence[Field] = TABLES[table]
        self.form = form
        self.tail: dict[str, Any] = {}
        self._live = live
        self._to = to or sys.stdout
        self._kept: list[pa.Table] = []
        self._between = ""
        self._widths: list[int] = []
        if form is Format.CSV:
            self._to.write(",".join(f.name for f in self.fields if f.public) + "\n")
        elif form is Format.JSON:
            keys = "".join(f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in (head or {}).items())
            self._to.write(f'{{"version": {VERSION},\n{keys}"{table}": [')

    def rows(self, rows: pa.Table) -> None:
        """Print some rows."""
        if not len(rows):
            return
        shown = as_text.shown(rows, self.fields, _SAFE.get(self.form))
        if self.form is Format.CSV:
            self._to.write(_csv(shown))
        elif self.form is Format.JSONL:
            self._to.write("\n".join(as_text.json_lines(shown, self.fields)) + "\n")
        elif self.form is Format.JSON:
            self._to.write(self._between + "\n" + ",\n".join(as_text.json_lines(shown, self.fields)))
            self._between = ","
        elif self._live:
            self._table(shown)
        else:
            self._kept.append(shown)
        if self._live:
            self._to.flush()

    def close(self) -> None:
        """Print what comes behind the last row."""
        if self.form is Format.JSON:
            keys = "".join(f",\n{json.dumps(key)}: {json.dumps(value)}" for key, value in self.tail.items())
            self._to.write("]" + keys + "}\n")
        elif self._kept:
            self._table(pa.concat_tables(self._kept))
        self._to.flush()

    def _table(self, shown: pa.Table) -> None:
        columns = HUMAN[self.table](shown) if self.table in HUMAN else _with_clocks(shown, self.fields)
        if self._to.isatty() and not self._live and len(shown) <= RICH_ROWS:
            _rich(columns, self._to)
            return
        titles = not self._widths
        self._widths = _widths(columns, self._widths)
        self._to.write(aligned(columns, self._widths, titles))


def plain(table: str, rows: pa.Table) -> list[dict[str, Any]]:
    """A few rows as they are in JSON."""
    return list(as_text.shown(rows, TABLES[table]).to_pylist())


def _csv(shown: pa.Table) -> str:
    from pyarrow import csv

    sink = pa.BufferOutputStream()
    try:
        csv.write_csv(shown, sink, csv.WriteOptions(include_header=False, quoting_style="none"))
    except pa.ArrowInvalid:  # a name with a comma or a quote in it: Arrow then quotes every text
        sink = pa.BufferOutputStream()
        csv.write_csv(shown, sink, csv.WriteOptions(include_header=False, quoting_style="needed"))
    return bytes(sink.getvalue()).decode()


def _cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()).fill_null("-")


def _widths(columns: Mapping[str, pa.ChunkedArray], at_least: Sequence[int]) -> list[int]:
    found = [max(len(name), pc.max(pc.utf8_length(_cells(column))).as_py() or 0) for name, column in columns.items()]
    return [max(pair) for pair in zip(found, at_least or found, strict=True)]


def aligned(columns: Mapping[str, pa.ChunkedArray], widths: Sequence[int], titles: bool = True) -> str:
    """Columns as lines of text, each column as wide as its width."""
    padded = [pc.utf8_rpad(_cells(c), width) for c, width in zip(columns.values(), widths, strict=True)]
    lines = pc.utf8_rtrim_whitespace(pc.binary_join_element_wise(*padded, _GAP)).to_pylist()
    if titles:
        lines.insert(0, _GAP.join(name.ljust(width) for name, width in zip(columns, widths, strict=True)).rstrip())
    return "\n".join(lines) + "\n"


def print_rows(form: Format, rows: Sequence[Mapping[str, Any]], to: TextIO | None = None, head: bool = True) -> None:
    """A few rows that are no records: namespaces, settings. As JSON they are part of a larger answer: not from here.
    Of rows that follow others, CSV has no `head`."""
    to = to or sys.stdout
    if form is Format.JSONL:
        to.writelines(json.dumps(row) + "\n" for row in rows)
    elif form is Format.CSV and rows:
        import csv

        writer = csv.DictWriter(to, list(rows[0]), lineterminator="\n")
        if head:
            writer.writeheader()
        writer.writerows({name: _csv_cell(value) for name, value in row.items()} for row in rows)
    elif rows:
        cells = {name: pa.array([visible(_cell(row[name], "-")) for row in rows]) for name in rows[0]}
        columns = {name: pa.chunked_array([column]) for name, column in cells.items()}
        _rich(columns, to) if to.isatty() else to.write(aligned(columns, _widths(columns, [])))


def _cell(value: Any, null: str) -> str:
    if value is None:
        return null
    return value if isinstance(value, str) else json.dumps(value)


def _csv_cell(value: Any) -> str:
    return guarded(value) if isinstance(value, str) else _cell(value, "")


def guarded(cell: str) -> str:
    """A text as csv has it: no spreadsheet takes it for a formula, whoever chose it, and no terminal for an escape.
    What begins with `'` has one more, so that taking one off gives what was there."""
    return ("'" if cell[:1] in _FORMULA else "") + visible(cell)


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_SAFE = {Format.TABLE: visible, Format.CSV: guarded}
"""What is made of texts that others chose; JSON has its own escapes."""


_STYLES = {"nat": "green", "float": "cyan", "local": "dim", "attached": "green", "retrying": "red", "open": "green"}
_GAP = "  "
_LONG = {"netns": 20}
"""Columns that a terminal may show shortened, and how short."""


def _rich(columns: Mapping[str, pa.ChunkedArray], to: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=to)
    widths = dict(zip(columns, _widths(columns, []), strict=True))
    room = len(_GAP) * len(columns)
    if sum(widths.values()) + room > console.width:
        widths |= {name: min(widths[name], short) for name, short in _LONG.items() if name in widths}
    # What still does not fit the terminal breaks at its edge: an address cut into lines by us could not be copied.
    console.width = max(console.width, sum(widths.values()) + room)
    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold")
    for name, width in widths.items():
        table.add_column(name, width=width, no_wrap=True, overflow="ellipsis")
    for row in zip(*(_cells(column).to_pylist() for column in columns.values()), strict=True):
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    console.print(table)


def _clock(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A time for a person: milliseconds, a space, no zone (the title says UTC)."""
    return pc.binary_replace_slice(pc.utf8_slice_codeunits(column, 0, 23), 10, 11, " ")


def _with_clocks(shown: pa.Table, fields: Sequence[Field]) -> dict[str, pa.ChunkedArray]:
    """All columns, the times for a person: as in sentences (`times.spoken`), since a gap may be short."""
    timed = {field.name for field in fields if field.kind == "time"}
    columns = zip(shown.column_names, shown.columns, strict=True)
    return {f"{name} (UTC)" if name in timed else name: _spoken(c) if name in timed else c for name, c in columns}


def _spoken(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_replace_slice(pc.replace_substring_regex(column, r"\.?0*Z$", ""), 10, 11, " ")


def _began(shown: pa.Table) -> pa.ChunkedArray:
    """When a connection began; `before` that, where it was only found then."""
    start, found = _clock(shown["start"]), pc.equal(shown["start_is"], label(StartIs.FOUND)).fill_null(False)
    return pc.if_else(found, pc.binary_join_element_wise("before", start, " "), start)


def endpoint(address: str, port: int) -> str:
    """An address and a port as they are typed."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _endpoints(shown: pa.Table, side: str) -> pa.ChunkedArray:
    """Address and port together; for ICMP the id or the type instead of a port."""
    address, port = shown[f"{side}_ip"], shown[f"{side}_port"]
    v6 = pc.match_substring(address, ":")
    plain = pc.binary_join_element_wise(
        pc.if_else(v6, "[", ""), address, pc.if_else(v6, "]:", ":"), port.cast(pa.string()), ""
    )
    source = side.endswith("src")
    number = port if source else pc.shift_right(port, pa.scalar(8, pa.uint16()))
    icmp = pc.binary_join_element_wise(address, " id " if source else " type ", number.cast(pa.string()), "")
    return pc.if_else(pc.starts_with(shown["proto"], "icmp"), icmp, plain)


def _connections(shown: pa.Table) -> dict[str, pa.ChunkedArray]:
    """What a person looks for first; the other formats have every field. What is not known is `?`."""
    source, nat_source = _endpoints(shown, "src"), _endpoints(shown, "nat_src")
    destination, nat_destination = _endpoints(shown, "dst"), _endpoints(shown, "nat_dst")
    packet = pc.equal(shown["origin"], label(Origin.PACKET)).fill_null(False)
    return {
        "start (UTC)": _began(shown),
        "end (UTC)": _clock(shown["end"]).fill_null(pc.if_else(pc.is_valid(shown["end_reason"]), "?", "open")),
        "netns": shown["netns"],
        "class": shown["class"],
        "proto": shown["proto"],
        "source": source,
        "destination": destination.fill_null("?"),
        "nat source": _unless_equal(source, nat_source).fill_null("?"),
        "nat destination": _unless_equal(destination, nat_destination),
        "end reason": pc.if_else(packet, PACKET, shown["end_reason"]),
    }


PACKET = "none: a packet, invalid"
"""What a person reads of a row that is no connection, in place of why it ended."""


def _unless_equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(one, other).fill_null(False), "=", other)


HUMAN = {"connections": _connections}
"""The columns of a table for a person, where they are not simply all."""
