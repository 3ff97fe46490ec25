"""A file of JSON lines: each connection at its start and at its end, in the words of `anetcon follow`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from anetcon.follow import reader
from anetcon.follow.reader import JournalReader
from anetcon.follow.sinks.json_file import JsonFile
from anetcon.journal.write import Writer
from anetcon.query import as_text
from anetcon.record import CONNECTIONS
from anetcon.store import layout
from bench.realistic import events, generate
from tests.support.crashing import CrashError, crash_at
from tests.support.records import T0, Making, batch, end, logged, lone, start, whole


def follow(store: Path) -> JournalReader:
    """Follow to the end of what there is, into a file beside it."""
    follower = JournalReader(store, "siem", JsonFile(store / "out" / "a.json"), "sink siem")
    while follower.step():
        pass
    return follower


def said(store: Path) -> list[dict[str, Any]]:
    """The lines."""
    return [json.loads(line) for line in (store / "out" / "a.json").read_text().splitlines()]


def told(store: Path) -> list[tuple[str, int]]:
    """The type and the source port of each line."""
    return [(line["type"], line["src_port"]) for line in said(store)]


def test_a_line_is_what_follow_prints_and_its_type(tmp_path: Path) -> None:
    """The same keys in the same order, the same values; the type comes first."""
    rows = [start(src_port=1), end(src_port=2, src_ip="2001:db8::1", netns='a "b"\\\n☃', nat_src_ip="2001:db8::1")]
    Making(tmp_path).add(*rows).close()
    follow(tmp_path).stop()
    shown = as_text.shown(pa.Table.from_batches([batch("connections", rows)]), CONNECTIONS)
    printed = as_text.json_lines(shown, CONNECTIONS)
    wanted = [f'{{"type": "{kind}", {line[1:]}' for kind, line in zip(("start", "end"), printed, strict=True)]
    assert (tmp_path / "out" / "a.json").read_text().splitlines() == wanted


def test_a_connection_has_a_start_and_an_end(tmp_path: Path) -> None:
    """Each once, whatever repeats; one that is known by its end first has that alone, and a line of text its start."""
    making = Making(tmp_path).add(start(src_port=1), start(src_port=1), *whole(src_port=2), end(src_port=3)).rotate()
    making.add(end(src_port=1), end(src_port=1), start(src_port=3), start(src_port=4, origin="dump"))
    making.add(logged(src_port=5), lone(src_port=6), end(src_port=4, origin="dump"), start(src_port=7, class_="local"))
    making.close()
    follow(tmp_path).stop()
    starts, ends = (("start", port) for port in (1, 2, 4, 5, 7)), (("end", port) for port in (1, 2, 3, 4))
    assert sorted(told(tmp_path)) == sorted([*starts, *ends, ("packet", 6)])


def test_no_end_comes_before_its_start(tmp_path: Path) -> None:
    """However capture has grouped the rows of a flush."""
    Making(tmp_path).add(end(src_port=1), end(src_port=2), start(src_port=2), start(src_port=1)).close()
    follow(tmp_path).stop()
    assert told(tmp_path) == [("start", 2), ("start", 1), ("end", 1), ("end", 2)]


def test_a_real_load_has_each_connection_once(tmp_path: Path) -> None:
    """Thousands of connections of every kind: a start and an end each."""
    made = generate(np.random.default_rng(6), 3_000)
    with Writer(layout.journal_folder(tmp_path, "connections"), "connections") as writer:
        for rows in events(made).to_batches(max_chunksize=500):
            writer.append(rows, T0, T0)
            if writer.rows >= 2_000:
                writer.rotate()
    follow(tmp_path).stop()
    keys = ("type", "netns", "proto", "src_ip", "src_port", "dst_ip", "dst_port", "start", "end")
    lines = [tuple(line[key] for key in keys) for line in said(tmp_path)]
    ends = [line for line in lines if line[0] == "end"]
    assert len(set(lines)) == len(lines)
    assert len(made) - 30 < len(ends) <= len(made)  # generated tuples overlap now and then, real ones never
    assert len(made) - 30 < len(lines) - len(ends) <= len(made)


def test_a_renamed_file_is_opened_again(tmp_path: Path) -> None:
    """Rotated, and told so: what comes then is in a new file."""
    making = Making(tmp_path).add(start(src_port=1))
    follower = follow(tmp_path)
    path = tmp_path / "out" / "a.json"
    path.rename(path.with_suffix(".json.1"))
    follower.reopen()
    making.add(end(src_port=1)).close()
    while follower.step():
        pass
    follower.stop()
    assert told(tmp_path) == [("end", 1)]
    assert path.with_suffix(".json.1").read_text().count("\n") == 1


@pytest.mark.parametrize(("torn", "every"), [(False, 0.0), (True, 1e9)])
def test_a_crash_at_every_step_loses_and_doubles_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bool, every: float
) -> None:
    """Wherever the process dies, also when the file was rotated before it comes back."""
    monkeypatch.setattr(reader, "SAVE_EVERY", every)
    model = tmp_path / "model"
    making = Making(model).add(start(src_port=1), *whole(src_port=2)).rotate()
    making.add(end(src_port=1), start(src_port=3)).rotate().add(end(src_port=3)).close()
    steps = number = 1
    while number <= steps:
        store = tmp_path / f"crash{number}"
        shutil.copytree(model, store)
        with crash_at(number, torn) as done:
            try:
                follow(store).stop()
                steps = done()
            except CrashError:
                steps = number + 1
        path = store / "out" / "a.json"
        if path.exists():
            path.rename(store / "out" / "a.json.1")
        follow(store).stop()
        lines = sorted(
            (line["type"], line["src_port"])
            for file in (store / "out").iterdir()
            for line in map(json.loads, file.read_text().splitlines())
        )
        assert lines == [(kind, port) for kind in ("end", "start") for port in (1, 2, 3)], number
        number += 1
    assert number > 12
