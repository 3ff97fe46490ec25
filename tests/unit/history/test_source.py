"""Files of every kind come as whole lines, up to where they are damaged."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anetcon.history.source import BLOCK, Source

TEXT = b"".join(b"line %d of some text\n" % number for number in range(100_000))


def zstd(text: bytes) -> bytes:
    """As the program zstd packs it."""
    packed: bytes = pa.Codec("zstd").compress(text, asbytes=True)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda text: text,
    "gzip": gzip.compress,
    "two gzips": lambda text: gzip.compress(text[:1000]) + gzip.compress(text[1000:]) + bytes(512),
    "zstd": zstd,
    "two zstds": lambda text: zstd(text[:1000]) + zstd(text[1000:]),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


def read(path: Path, data: bytes) -> tuple[bytes, str]:
    """All lines of a file with this content, whatever it is called, and its damage. Its digest is that of the content,
    whatever that holds."""
    path.write_bytes(data)
    source = Source(path)
    blocks = list(source.blocks())
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert all(0 < len(block) <= BLOCK for block in blocks)
    assert (source.consumed, source.digest.digest()) == (len(data), hashlib.sha256(data).digest())
    return b"".join(blocks), source.damage


@pytest.mark.parametrize("kind", PACKERS)
def test_whole_files(tmp_path: Path, kind: str) -> None:
    """They are told by their content; each block ends with a line, but for a last one that does not end."""
    assert read(tmp_path / "a.txt", PACKERS[kind](TEXT)) == (TEXT, "")
    assert read(tmp_path / "a.txt", PACKERS[kind](TEXT[:-1])) == (TEXT[:-1], "")
    assert read(tmp_path / "a.txt", PACKERS[kind](b"")) == (b"", "")


def test_what_is_called_compressed(tmp_path: Path) -> None:
    """That it is not is known, whatever it holds instead; another name promises nothing."""
    for data, misnamed in ((b"", True), (bytes(9), True), (TEXT, True), (gzip.compress(TEXT), False)):
        for name in ("a.gz", "a.log.2.zst", "a.gz.log"):
            path = tmp_path / name
            path.write_bytes(data)
            source = Source(path)
            assert b"".join(source.blocks()) == (data if misnamed else TEXT)
            assert source.misnamed == (misnamed and not name.endswith(".log")), (name, data[:9])


def test_a_named_pipe(tmp_path: Path) -> None:
    """It is opened once: its writer is told that nobody reads as soon as a reader goes."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    source = Source(pipe)
    with ThreadPoolExecutor() as pool:
        written = pool.submit(pipe.write_bytes, TEXT)
        assert b"".join(source.blocks()) == TEXT
        assert written.result() == len(TEXT)


@pytest.mark.parametrize("kind", [kind for kind in PACKERS if kind != "plain" and "two" not in kind])
def test_torn_files(tmp_path: Path, kind: str) -> None:
    """What is before the end is read, and said to be torn."""
    packed = PACKERS[kind](TEXT)
    for share in (0.3, 0.99):
        text, damage = read(tmp_path / "a", packed[: int(len(packed) * share)])
        assert "torn off" in damage
        whole = text.rpartition(b"\n")[0].rpartition(b"\n")[0]
        assert TEXT.startswith(whole)
        least = 0 if kind == "bzip2" else share - 0.35
        assert len(whole) >= len(TEXT) * least


def test_damage_in_the_middle(tmp_path: Path) -> None:
    """All that is before it is read, to a few lines."""
    packed = bytearray(gzip.compress(TEXT))
    at = len(packed) * 3 // 4
    packed[at : at + 64] = b"\xff" * 64
    unpacker = zlib.decompressobj(31)
    before = len(unpacker.decompress(bytes(packed[: at - 64])))
    text, damage = read(tmp_path / "a", bytes(packed))
    assert damage.startswith("damaged")
    assert len(text) >= before > len(TEXT) // 2
    assert TEXT.startswith(text[:before])


def test_a_line_without_end(tmp_path: Path) -> None:
    """It is one line, cut in the middle, and what comes behind it is not lost."""
    text, _ = read(tmp_path / "a", b"x" * (5 * BLOCK) + b"\nnext\n")
    first, second = text.splitlines()
    assert (len(first) < 2 * BLOCK, second) == (True, b"next")


MUCH = 128 << 20
BOMBS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.compressobj(9, wbits=31),
    "xz": lambda: lzma.LZMACompressor(preset=0),
    "bzip2": bz2.BZ2Compressor,
}


def bomb(kind: str) -> bytes:
    """Zeros as one member."""
    if kind == "zstd":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            for _ in range(MUCH >> 20):
                stream.write(bytes(1 << 20))
        return bytes(sink.getvalue())
    packer = BOMBS[kind]()
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(MUCH >> 20)) + bytes(packer.flush())


MEASURED = """
import resource, sys
from pathlib import Path
import pyarrow
from anetcon.history.source import Source
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
before, source = peak(), Source(Path(sys.argv[1]))
for block in source.blocks():
    pass
print(peak() - before, source.damage)
"""


@pytest.mark.parametrize("kind", [*BOMBS, "zstd"])
def test_a_bomb(tmp_path: Path, kind: str) -> None:
    """What unpacks to zeros is said to be no log, and takes the memory of a few blocks."""
    (tmp_path / "bomb").write_bytes(bomb(kind))
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, tmp_path / "bomb"], check=True, capture_output=True, text=True
    )
    peak, _, damage = ran.stdout.partition(" ")
    assert "1,000 times its size without a line" in damage
    assert int(peak) < 16 * BLOCK


def test_a_huge_line(tmp_path: Path) -> None:
    """A plain file of one line, and zeros before the lines of a log that somebody truncated, take no more."""
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.truncate(MUCH)
        file.seek(0, os.SEEK_END)
        file.write(b"\nnext\n")
    ran = subprocess.run([sys.executable, "-c", MEASURED, path], check=True, capture_output=True, text=True)
    assert int(ran.stdout.partition(" ")[0]) < 16 * BLOCK
    *_, last = Source(path).blocks()
    assert last.endswith(b"\0\nnext\n")


@pytest.mark.slow
def test_dense_lines(tmp_path: Path) -> None:
    """A log of one line a million times is as dense as zeros are, and read."""
    text = b"the same line\n" * (8 << 20)
    packed = bz2.compress(text)
    assert len(text) > 1000 * len(packed)
    found, damage = read(tmp_path / "a", packed)
    assert (len(found), damage) == (len(text), "")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh9"]),
    st.binary(max_size=300),
)
def test_any_bytes(tmp_path: Path, magic: bytes, data: bytes) -> None:
    """Whatever is in a file, it is read or damaged."""
    text, damage = read(tmp_path / "a", magic + data)
    assert damage or magic == b"" or not data or text
