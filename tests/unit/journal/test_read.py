"""The journal's promise: what was flushed is read back, and damage costs only what lies behind the last good line."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import StoreError
from anetcon.journal.read import (
    BEGINNING,
    Position,
    ended_cleanly,
    is_closed,
    last_flush,
    parse_line,
    read,
    read_segment,
)
from anetcon.journal.segment import Lost, Segment
from anetcon.journal.write import Writer, index_line, schema_bytes, segment_path, segments
from tests.support.examples import EXAMPLES
from tests.support.forging import forged
from tests.support.records import batch as connections
from tests.support.records import start
from tests.support.segments import gaps, written


def losses(folder: Path, after: Position = BEGINNING) -> list[int]:
    """What `read` hands out."""
    return [row["lost"] for flush in read(folder, after) if flush.batch for row in flush.batch.to_pylist()]


def test_what_was_flushed_is_read(tmp_path: Path) -> None:
    """Rows come back in order, over segments, with the flush's times."""
    with Writer(tmp_path, "gaps") as writer:
        writer.append(gaps(1, 2), 0, 10)
        writer.heartbeat(10, 20)
        assert losses(tmp_path) == [1, 2]
        writer.rotate()
        writer.append(gaps(3), 20, 30)
        assert is_closed(tmp_path, 1)
        assert not is_closed(tmp_path, 2)
        assert not ended_cleanly(tmp_path)
    assert losses(tmp_path) == [1, 2, 3]
    assert ended_cleanly(tmp_path)
    assert last_flush(tmp_path) == 30
    assert [(f.start, f.end, f.batch is None) for f in read(tmp_path)] == [
        (0, 10, False),
        (10, 20, True),
        (20, 30, False),
    ]


def test_reading_goes_on_at_a_position(tmp_path: Path) -> None:
    """A flush's position is where the next one begins, also in a later segment."""
    written(tmp_path, (1,), (2,))
    written(tmp_path, (3,))
    positions = [flush.after for flush in read(tmp_path)]
    assert [losses(tmp_path, position) for position in positions] == [[2, 3], [3], []]


def test_only_the_columns_asked_for_are_unpacked(tmp_path: Path) -> None:
    """A reader that needs few columns gets those, in the order of the table."""
    written(tmp_path, (1, 2))
    (flush,) = read_segment(tmp_path, 1, columns={"lost", "cause"})
    assert flush.batch is not None
    assert flush.batch.to_pydict() == {"cause": ["overrun"] * 2, "lost": [1, 2]}


def test_a_segment_is_a_plain_arrow_stream(tmp_path: Path) -> None:
    """Any Arrow reader reads a closed segment."""
    written(tmp_path, (1, 2), (3,))
    with pa.ipc.open_stream(segment_path(tmp_path, 1).read_bytes()) as stream:
        assert stream.read_all()["lost"].to_pylist() == [1, 2, 3]


def test_a_new_writer_starts_a_new_segment(tmp_path: Path) -> None:
    """Nothing is ever appended to what another process left."""
    written(tmp_path, (1,))
    before = segment_path(tmp_path, 1).read_bytes()
    written(tmp_path, (2,))
    assert segments(tmp_path) == [1, 2]
    assert segment_path(tmp_path, 1).read_bytes() == before


@pytest.mark.parametrize("kind", ["arrows", "index"])
@pytest.mark.parametrize("damage", ["torn", "zeroed", "flipped"])
def test_damage_at_every_byte(tmp_path: Path, kind: str, damage: str) -> None:
    """Whatever happens to a tail, what is handed out is a beginning of what was written, and never wrong."""
    written(tmp_path, (1, 2), (3,), (4,))
    path = segment_path(tmp_path, 1, kind)
    whole = path.read_bytes()
    shortest = set()
    for at in range(0, len(whole), 1 if kind == "index" else 5):
        tail = {
            "torn": b"",
            "zeroed": bytes(len(whole) - at),
            "flipped": bytes([whole[at] ^ 0x10]) + whole[at + 1 :],
        }[damage]
        path.write_bytes(whole[:at] + tail)
        found = losses(tmp_path)
        assert last_flush(tmp_path) == {0: None, 2: 10, 3: 20, 4: 30}[len(found)]
        assert found in ([], [1, 2], [1, 2, 3], [1, 2, 3, 4])
        shortest.add(len(found))
    assert {0, 2, 3} <= shortest
    path.write_bytes(whole)
    assert losses(tmp_path) == [1, 2, 3, 4]


def test_damage_ends_its_own_segment_only(tmp_path: Path) -> None:
    """Later segments are read although an earlier one is damaged."""
    written(tmp_path, (1,), (2,))
    written(tmp_path, (3,))
    path = segment_path(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-300])
    assert losses(tmp_path)[-1] == 3


@pytest.mark.parametrize("in_index", [False, True])
def test_a_failed_flush_leaves_nothing_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_index: bool
) -> None:
    """A disk that fills up in the middle of a flush, or of its index line, shows nothing; later the flush fits in."""
    writer = Writer(tmp_path, "gaps")
    writer.append(gaps(1), 0, 10)
    flush = writer.size - len(schema_bytes(writer.schema))
    left = flush + 10 if in_index else 40
    whole = os.write

    def full(descriptor: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(28, "No space left on device")
        written = whole(descriptor, data[:left])
        left -= written
        return written

    monkeypatch.setattr("anetcon.journal.write.os.write", full)
    with pytest.raises(OSError, match="No space"):
        writer.append(gaps(2), 10, 20)
    assert left == 0
    monkeypatch.undo()
    assert losses(tmp_path) == [1]
    writer.append(gaps(2), 10, 20)
    assert losses(tmp_path) == [1, 2]
    writer.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """One sentence names the folder."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write the journal in .*file/gaps"):
        Writer(tmp_path / "file" / "gaps", "gaps")


def test_no_journal_at_all(tmp_path: Path) -> None:
    """A folder that is not there yet is an empty journal."""
    assert list(read(tmp_path / "none")) == []
    assert last_flush(tmp_path / "none") is None
    assert not ended_cleanly(tmp_path / "none")
    assert not is_closed(tmp_path / "none", 1)


def test_a_segment_dropped_meanwhile(tmp_path: Path) -> None:
    """Reading a segment that is gone says so; reading on passes over it, also where only its data is gone."""
    written(tmp_path, (1,))
    written(tmp_path, (2,))
    segment_path(tmp_path, 1).unlink()
    assert losses(tmp_path) == [2]
    segment_path(tmp_path, 1, "index").unlink()
    assert losses(tmp_path) == [2]
    with pytest.raises(FileNotFoundError):
        list(read_segment(tmp_path, 1))


@given(st.binary(max_size=80))
def test_any_bytes_as_an_index_line(noise: bytes) -> None:
    """An index line is a line or it is not; it never raises."""
    line = parse_line(noise)
    assert line is None or noise.startswith(line.text)


@given(st.integers(0, 1 << 60), st.binary(max_size=20), st.integers(0, 1 << 40), st.integers(0, 1 << 60))
def test_an_index_line_says_what_it_was_given(offset: int, payload: bytes, rows: int, time: int) -> None:
    """What is written as a line is read from it."""
    line = parse_line(index_line(offset, payload, rows, time, time + 1)[:-1])
    assert line is not None
    assert line[:5] == (offset, len(payload), rows, time, time + 1)


def test_a_forged_checksum_ends_the_segment(tmp_path: Path) -> None:
    """A batch that is none ends its segment as damage does, and is told as that, whatever was read of it before."""
    written(tmp_path, (1,), (2,), (3,))
    written(tmp_path, (4,))
    assert losses(tmp_path) == [1, 2, 3, 4]
    forged(tmp_path, 1, lambda payload: payload.__setitem__(slice(None), bytes(len(payload))), 2)
    assert losses(tmp_path) == [1, 4]
    assert Segment(tmp_path, 1).lost() == Lost(10, 30, 2)
    assert Segment(tmp_path, 2).lost() is None


def test_a_code_that_stands_for_nothing(tmp_path: Path) -> None:
    """Arrow unpacks a batch whose codes lie outside of their dictionary, and reads anywhere in memory for them."""
    codes = pa.DictionaryArray.from_arrays(pa.array([1 << 20], pa.int32()), pa.array(["n"]), safe=False)
    whole = gaps(1)
    columns = [codes if name == "node" else whole[name] for name in whole.schema.names]
    batch = pa.RecordBatch.from_arrays(columns, schema=whole.schema)
    with Writer(tmp_path, "gaps") as writer:
        writer.append(gaps(7), 0, 10)
        writer.append(batch, 10, 20)
    assert losses(tmp_path) == [7]
    assert Segment(tmp_path, 1).lost() == Lost(10, 20, 1)


def test_rows_that_a_line_does_not_speak_of(tmp_path: Path) -> None:
    """A batch of another number of rows than its line says is none, and so is one of another table's types."""
    with Writer(tmp_path, "gaps") as writer:
        writer.put(writer.encode(gaps(1, 2)), 1, 0, 10)
    assert losses(tmp_path) == []
    assert Segment(tmp_path, 1).lost() == Lost(0, 10, 1)


def test_a_value_that_nobody_writes(tmp_path: Path) -> None:
    """Of an enumeration only its values are read: whoever counts on them would fail at another."""
    with Writer(tmp_path, "connections") as writer:
        writer.append(connections("connections", [start()]), 0, 10)
        writer.append(connections("connections", [start()]), 10, 20)
    forged(tmp_path, 1, lambda payload: payload.__setitem__(slice(None), payload.replace(b"ipv4", b"Ypv4")), 2)
    assert [flush.end for flush in read(tmp_path)] == [10]
    assert Segment(tmp_path, 1).lost() == Lost(10, 20, 1)


def test_too_little_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory does not do for what is there, nothing is taken for lost; a batch that asks for more than its bytes
    can stand for is none."""
    written(tmp_path, (1,), (2,))

    def asking(size: int) -> Callable[..., NoReturn]:
        """What Arrow says when it gets no memory."""

        def fail(*_: object) -> NoReturn:
            raise pa.ArrowMemoryError(f"malloc of size {size} failed")

        return fail

    monkeypatch.setattr("anetcon.journal.read._batch", asking(1 << 16))
    for ask in (losses, lambda folder: Segment(folder, 1).lost()):
        with pytest.raises(MemoryError):
            ask(tmp_path)
    monkeypatch.setattr("anetcon.journal.read._batch", asking(1 << 40))
    assert losses(tmp_path) == []
    assert Segment(tmp_path, 1).lost() == Lost(0, 20, 2)


FUZZ = """
import random, shutil, sys
from pathlib import Path
from tests.support.asking import Answer
from tests.support.examples import EXAMPLES
from tests.support.forging import forged
from tests.support.records import Making, start, whole

folder, many, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
made = Making(folder / "made").add(*whole(), *whole(src_port=2), start(src_port=3, netns="other")).close()
random.seed(seed)

def change(payload):
    for _ in range(random.randint(1, 3)):
        payload[random.randrange(len(payload))] = random.randrange(256)

for number in range(many):
    shutil.rmtree(folder / "store", ignore_errors=True)
    shutil.copytree(made, folder / "store")
    forged(folder / "store" / "journal" / "connections", 1, change)
    print(number, flush=True)
    answer = Answer("search", "--store", folder / "store")
    assert answer.status in (0, 1, 3, 8), answer.err
"""


@pytest.mark.hypothesis
def test_forged_bytes_end_no_program(tmp_path: Path) -> None:
    """Whatever bytes of a batch somebody changed together with its checksum, a question is answered."""
    many, seed = EXAMPLES, random.randrange(1 << 32)
    ran = subprocess.run(
        [sys.executable, "-c", FUZZ, tmp_path, str(many), str(seed)],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert (ran.returncode, ran.stdout.split()[-1:]) == (0, [str(many - 1)]), f"seed {seed}: {ran.stderr[-3000:]}"
