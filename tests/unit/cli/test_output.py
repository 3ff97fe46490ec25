"""The four formats: what each promises."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.cli.output import Format, Records, endpoint, print_rows
from anetcon.record import CONNECTIONS
from anetcon.system.printable import visible
from tests.support.asking import Terminal
from tests.support.records import ROUTER, batch, end, ends, logged, logged_float, start, whole

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


def printed(form: Format, *flushes: list[dict[str, Any]], to: io.StringIO | None = None, **more: Any) -> str:
    """Rows printed in one format."""
    to = to or io.StringIO()
    records = Records("connections", form, to=to, **more)
    for rows in flushes:
        records.rows(pa.Table.from_batches([batch("connections", rows)]))
    records.close()
    return to.getvalue()


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_csv_and_jsonl_say_the_same(names: list[str]) -> None:
    """Whatever is in a name, csv and jsonl read back to the same records, null as an empty field; in csv what is not
    printable is escaped, and what a spreadsheet would take for a formula has a `'` before it."""
    rows = [start(netns=name) for name in names]
    lines = [json.loads(line) for line in printed(Format.JSONL, rows).splitlines()]
    table = list(csv.DictReader(io.StringIO(printed(Format.CSV, rows), newline="")))
    assert [row["netns"] for row in lines] == names
    for row, name in zip(table, names, strict=True):
        assert row["netns"] == ("'" if name[0] in "=+-@\t\r'" else "") + visible(name)
    for row, line in zip(table, lines, strict=True):
        row["netns"] = line["netns"]
    assert table == [{name: "" if value is None else str(value) for name, value in line.items()} for line in lines]


def test_json_is_one_object() -> None:
    """The records are under the table's name, other keys before and behind, however the rows come."""
    for flushes in ([], [[start()]], [[start()], [], whole(src_port=1)]):
        said = json.loads(printed(Format.JSON, *flushes, head={"query": {"a": 1}}))
        assert list(said) == ["version", "query", "connections"]
        assert len(said["connections"]) == sum(map(len, flushes))


def test_csv_without_rows_has_its_header() -> None:
    """No records are a header alone; in jsonl they are nothing."""
    assert printed(Format.CSV) == ",".join(field.name for field in CONNECTIONS if field.public) + "\n"
    assert printed(Format.JSONL) == printed(Format.TABLE) == ""


def test_a_table_off_a_terminal() -> None:
    """Nothing is wrapped, cut or coloured: one line a record, in columns."""
    long = "qrouter-" + "x" * 300
    lines = printed(Format.TABLE, [start(netns=long), start(netns="a")], [start()]).splitlines()
    assert len(lines) == 4
    assert long in lines[1]
    assert "\x1b" not in "".join(lines)
    assert len({line.index("10.0.0.5:40000") for line in lines[1:]}) == 1


def test_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal rich lays it out within its width, with colours, the long name of a namespace cut."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    said = printed(Format.TABLE, [start()], to=Terminal())
    assert "\x1b[" in said
    assert ROUTER not in said
    assert ROUTER[:10] in said


def test_what_a_table_shows() -> None:
    """The translated side is `=` where nothing was translated; ICMP has its id and type instead of ports."""
    six = ends(src="[2001:db8::1]:5", dst="[2001:db8::2]:6", nat_src="[2001:db8::1]:5")
    echo = ends(src="10.0.0.5:77", dst="192.0.2.1:2048", nat_src="203.0.113.7:78")
    lines = printed(Format.TABLE, [start(), start(**six), start(proto=1, **echo)]).splitlines()[1:]
    assert lines[0].split()[5:] == ["tcp", "10.0.0.5:40000", "198.51.100.9:443", "203.0.113.7:40213", "=", "-"]
    assert lines[1].split()[6:10] == ["[2001:db8::1]:5", "[2001:db8::2]:6", "=", "="]
    assert "10.0.0.5 id 77" in lines[2]
    assert "192.0.2.1 type 8" in lines[2]
    assert "203.0.113.7 id 78" in lines[2]


def test_live_rows_are_printed_at_once() -> None:
    """A live stream prints what comes when it comes, its header once."""
    to = io.StringIO()
    records = Records("connections", Format.TABLE, live=True, to=to)
    for number in range(3):
        records.rows(pa.Table.from_batches([batch("connections", [start(src_port=number)])]))
        assert len(to.getvalue().splitlines()) == 2 + number


def test_endpoints() -> None:
    """An address with its port, as it is typed."""
    assert endpoint("10.0.0.1", 5) == "10.0.0.1:5"
    assert endpoint("2001:db8::1", 5) == "[2001:db8::1]:5"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (Format.TABLE, "a   b\n-   1\nx,  true\n"),
        (Format.JSONL, '{"a": null, "b": 1}\n{"a": "x,", "b": true}\n'),
        (Format.CSV, 'a,b\n,1\n"x,",true\n'),
    ],
)
def test_rows_that_are_no_records(form: Format, said: str) -> None:
    """Small tables of anything come in the same formats."""
    to = io.StringIO()
    print_rows(form, [{"a": None, "b": 1}, {"a": "x,", "b": True}], to)
    assert to.getvalue() == said
    print_rows(form, [], to)
    assert to.getvalue() == said


def test_what_a_line_does_not_tell() -> None:
    """Empty or null in every format; for a person a question mark, and never that the connection is open."""
    rows = [logged(), logged_float()]
    nat, dnat = printed(Format.TABLE, rows).splitlines()[1:]
    assert nat.split()[2:] == ["?", ROUTER, "nat", "tcp", "10.0.0.5:40000", "198.51.100.9:443", "?", "=", "unknown"]
    assert dnat.split()[2:] == ["?", ROUTER, "float", "tcp", "192.0.2.1:5000", "?", "?", "10.0.0.9:22", "unknown"]
    unknown = {"dst_ip", "dst_port", "nat_src_ip", "nat_src_port", "end"}
    for found, null in (
        (list(csv.DictReader(io.StringIO(printed(Format.CSV, rows))))[1], ""),
        (json.loads(printed(Format.JSONL, rows).splitlines()[1]), None),
        (json.loads(printed(Format.JSON, rows))["connections"][1], None),
    ):
        assert unknown <= {name for name, value in found.items() if value == null}
        assert (found["nat_dst_ip"], found["end_reason"]) == ("10.0.0.9", "unknown")


def test_a_connection_whose_end_was_never_seen_is_not_open() -> None:
    """With an end, whatever the reason, the end is shown."""
    assert "open" in printed(Format.TABLE, [start()])
    assert "open" not in printed(Format.TABLE, [end(end_reason="unknown")])
