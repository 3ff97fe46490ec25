"""A file as blocks of whole lines: plain, gzip, zstd, xz or bzip2, told by its content; `-` is standard input.

What is compressed is read up to where it is damaged or torn off, and `damage` then says so. A block ends with a
newline, but for the last where the file does not: somebody may be writing it. Of a line longer than a block the middle
is left out, since no line of ours is.

No more than a block is unpacked at a time, so memory is bounded by a few blocks and by what a format itself needs
(`XZ_MEMORY` at most). What unpacks to more than `DENSEST` times its size without a line in it is no log: it is not
unpacked any further, and `damage` says so.

`digest` is the SHA-256 of the file's bytes as they are on disk, also where what they hold is damaged.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

BLOCK = 1 << 20
"""Bytes of a block, about four thousand lines."""

LONGEST = 64 << 10
PIECE = 64 << 10
CAREFUL = 64
"""Bytes that are decompressed at a time: usually, and near damage, so that nothing before it is lost."""

DENSEST = 1000
"""Times its size that what is compressed may unpack to without a newline; zeros do."""

XZ_MEMORY = 256 << 20
"""Bytes that a file of xz may ask for: `xz -9` needs 65 MiB."""

STDIN = Path("-")

PACKED = (".gz", ".zst", ".xz", ".bz2")
"""What names of compressed files end with."""

_GZIP, _ZSTD, _XZ, _BZIP2 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh"


_DENSE = f"no packed log: it unpacks to over {DENSEST:,} times its size without a line; import it unpacked if it is one"


class _TornError(Exception):
    """What is compressed ends or breaks here."""


class Source:
    """One file, read from its beginning each time `blocks` is called; standard input once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        self.misnamed = False
        """Whether it is called as what is compressed, and is not: unpacked in place, or a crash left nothing of it."""
        self.consumed = 0
        """Bytes of the file read so far, compressed ones where it is."""
        self.digest = hashlib.sha256()
        """Of those bytes."""
        self.size: int | None = None
        self.modified: float | None = None
        if path != STDIN:
            found = path.stat()
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(21, os.strerror(21), str(path))
            if stat.S_ISREG(found.st_mode):
                self.size, self.modified = found.st_size, found.st_mtime
                with path.open("rb"):  # a pipe's writer would be gone with that reader
                    pass

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return "standard input" if self.path == STDIN else str(self.path)

    @property
    def again(self) -> bool:
        """Whether it can be read more than once."""
        return self.size is not None

    def packed_at(self) -> float | None:
        """When what a gzip file holds was written last, as its header says."""
        if not self.again:
            return None
        try:
            with self.path.open("rb") as file:
                head = file.read(8)
        except OSError:
            return None
        return float(int.from_bytes(head[4:8], "little")) or None if head[:3] == _GZIP + b"\x08" else None

    def blocks(self) -> Iterator[bytes]:
        """Its lines, many at a time."""
        self.damage, self.consumed, self.digest = "", 0, hashlib.sha256()
        left = bytearray()
        bare = since = 0  # bytes without a newline that were left out, and how far the file had been read before them
        try:
            with self._open() as file:
                try:
                    for piece in self._pieces(file):
                        left += piece
                        while len(left) >= BLOCK:
                            end = left.rfind(b"\n", 0, BLOCK) + 1
                            if end:
                                yield bytes(left[:end])
                                del left[:end]
                                bare, since = 0, self.consumed
                            else:
                                del left[LONGEST:BLOCK]
                                bare += BLOCK - LONGEST
                                if bare > DENSEST * max(self.consumed - since, PIECE):
                                    raise _TornError(_DENSE)
                except _TornError as error:
                    self.damage = str(error)
                while self._more(file):
                    pass  # for the digest
        except OSError as error:
            self.damage = f"not readable any further: {error.strerror}"
        if left:
            yield bytes(left)

    @property
    def weight(self) -> int:
        """Its bytes, for who shows how far a reading is."""
        return self.size or 0

    def _open(self) -> BinaryIO:
        return open(sys.stdin.fileno(), "rb", closefd=False) if self.path == STDIN else self.path.open("rb")

    def _pieces(self, file: BinaryIO) -> Iterator[bytes]:
        head = self._more(file)
        if head.startswith(_ZSTD):
            yield from self._zstd(head, file)
            return
        unpack = {_GZIP: _Gzip, _XZ: _xz, _BZIP2: bz2.BZ2Decompressor}
        for magic, make in unpack.items():
            if head.startswith(magic):
                yield from self._unpacked(head, file, make)
                return
        self.misnamed = self.path.suffix in PACKED
        while head:
            yield head
            head = self._more(file)

    def _more(self, file: BinaryIO, size: int = PIECE) -> bytes:
        piece = file.read(size)
        self.consumed += len(piece)
        self.digest.update(piece)
        return piece

    def _unpacked(self, data: bytes, file: BinaryIO, make: Callable[[], Any]) -> Iterator[bytes]:
        """Members, one behind the other; zeros behind the last are padding."""
        unpacker, begun = make(), False
        while data:
            begun = True
            yield from _what_is_in(unpacker, data)
            data = b""
            if unpacker.eof:
                data, unpacker, begun = unpacker.unused_data.lstrip(b"\0"), make(), False
            data = data or (self._more(file) if begun else self._more(file).lstrip(b"\0"))
        if begun:
            raise _TornError("torn off: it ends in the middle")

    def _zstd(self, head: bytes, file: BinaryIO) -> Iterator[bytes]:
        import pyarrow as pa

        stream = pa.CompressedInputStream(pa.PythonFile(_Counted(self, head, file), "r"), "zstd")
        while True:
            try:
                piece = stream.read(PIECE)
            except (OSError, pa.ArrowException):
                raise _TornError("damaged or torn off") from None
            if not piece:
                return
            yield piece


class _Counted(io.RawIOBase):
    """What Arrow reads a file through: its beginning, which was looked at, and the rest."""

    def __init__(self, source: Source, head: bytes, file: BinaryIO) -> None:
        self._source, self._head, self._file = source, head, file

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        if self._head:
            found, self._head = self._head[:size], self._head[size:]
            return found
        return self._source._more(self._file, size)

    def readable(self) -> bool:
        """It is for reading."""
        return True


class _Gzip:
    """zlib's unpacker with the face of those of bz2 and lzma. Where it breaks, what was before is given first."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)
        self._broken: zlib.error | None = None
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        """What is behind the member."""
        return self._zlib.unused_data

    def decompress(self, data: bytes, most: int) -> bytes:
        """What `data` unpacks to, so many bytes at most; `needs_input` says whether that is all. Raises zlib.error."""
        if self._broken:
            raise self._broken
        data, before = self._zlib.unconsumed_tail + data, self._zlib.copy()
        try:
            piece = self._zlib.decompress(data, most)
        except zlib.error as error:
            self._broken, self.needs_input = error, False
            return _careful(before, data)
        self.needs_input = len(piece) < most
        return piece


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=XZ_MEMORY)


def _what_is_in(unpacker: Any, data: bytes) -> Iterator[bytes]:
    """What some bytes unpack to, a block at a time."""
    while True:
        try:
            piece = unpacker.decompress(data, BLOCK)
        except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError, MemoryError):
            raise _TornError("damaged") from None
        if piece:
            yield piece
        data = b""
        if unpacker.eof or unpacker.needs_input:
            return


def _careful(unpacker: Any, data: bytes) -> bytes:
    """What is there before the damage."""
    found = bytearray()
    try:
        for at in range(0, len(data), CAREFUL):
            found += unpacker.decompress(data[at : at + CAREFUL])
    except zlib.error:
        pass
    return bytes(found)
