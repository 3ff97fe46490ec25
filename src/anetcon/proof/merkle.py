"""The Merkle tree of RFC 6962 over lines: one hash, the root, stands for all of them.

A leaf is SHA-256(0x00, line), a node SHA-256(0x01, left, right). A Range holds one hash for each full subtree, which is
enough to append lines and to say the root. A HashTree holds every leaf, which is enough for proofs. Whoever has two
roots and a proof needs neither: `includes` and `continues`. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

SIZE = 32
"""Bytes of a hash."""

EMPTY = hashlib.sha256().digest()
"""The root of no lines."""


def leaf(line: bytes) -> bytes:
    """The hash of a line."""
    return hashlib.sha256(b"\0" + line).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two hashes."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Range:
    """The root of lines that are appended one by one: `size` of them until now."""

    def __init__(self) -> None:
        self.size = 0
        self._full: list[bytes] = []
        """A hash for each bit that is set in `size`, the largest subtree first."""

    def append(self, line: bytes) -> None:
        """One more line."""
        found, size = leaf(line), self.size
        while size & 1:
            found, size = node(self._full.pop(), found), size >> 1
        self._full.append(found)
        self.size += 1

    def root(self) -> bytes:
        """The root of what was appended."""
        if not self._full:
            return EMPTY
        *others, found = self._full
        for each in reversed(others):
            found = node(each, found)
        return found


class HashTree:
    """The tree over all these lines."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._levels = [[leaf(line) for line in lines]]
        """Hashes of full subtrees: of one leaf, of two, of four and so on."""
        while len(below := self._levels[-1]) > 1:
            pairs = zip(below[::2], below[1::2], strict=False)
            self._levels.append([node(left, right) for left, right in pairs])

    def __len__(self) -> int:
        return len(self._levels[0])

    def root(self, size: int) -> bytes:
        """The root as it was when there were so many lines."""
        return self._over(0, size) if size else EMPTY

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """What shows that a line, counted from 0, is under the root of so many (RFC 6962, 2.1.1)."""
        if not 0 <= index < size <= len(self):
            raise ValueError(f"no line {index} under {size} of {len(self)}")
        found, begin, end = list[bytes](), 0, size
        while end - begin > 1:
            middle = begin + _left(end - begin)
            if index < middle:
                found.append(self._over(middle, end))
                end = middle
            else:
                found.append(self._over(begin, middle))
                begin = middle
        return found[::-1]

    def consistency(self, old: int, size: int) -> list[bytes]:
        """What shows that the tree of so many lines goes on from that of `old` (RFC 6962, 2.1.2)."""
        if not 0 < old <= size <= len(self):
            raise ValueError(f"no tree of {old} lines under {size} of {len(self)}")
        found, begin, end, whole = list[bytes](), 0, size, True
        while old != end:
            middle = begin + _left(end - begin)
            if old <= middle:
                found.append(self._over(middle, end))
                end = middle
            else:
                found.append(self._over(begin, middle))
                begin, whole = middle, False
        return [*([] if whole else [self._over(begin, end)]), *found[::-1]]

    def _over(self, begin: int, end: int) -> bytes:
        """The hash over some lines; `begin` is where a subtree of that size begins."""
        level = (end - begin).bit_length() - 1
        if end - begin == 1 << level:
            return self._levels[level][begin >> level]
        middle = begin + _left(end - begin)
        return node(self._over(begin, middle), self._over(middle, end))


def _left(size: int) -> int:
    """How many of so many lines are in the left subtree: the largest power of two that is smaller."""
    return 1 << (size - 1).bit_length() - 1


def includes(root: bytes, size: int, index: int, line: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a line, counted from 0, is under the root of so many (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf(line)
    for each in proof:
        if not last:
            return False
        if at & 1 or at == last:
            found = node(each, found)
            at, last = _up(at, last)
        else:
            found = node(found, each)
        at, last = at >> 1, last >> 1
    return not last and found == root


def continues(old: tuple[int, bytes], new: tuple[int, bytes], proof: Sequence[bytes]) -> bool:
    """Whether a tree, as size and root, begins with all of another one (RFC 9162, 2.1.4.2)."""
    (old_size, old_root), (size, root) = old, new
    if old_size == size:
        return old_root == root and not proof
    if not 0 < old_size < size:
        return False
    rest: Iterator[bytes] = iter(proof if old_size & (old_size - 1) else [old_root, *proof])
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = next(rest, None)
    if first is None:
        return False
    before = after = first
    for each in rest:
        if not last:
            return False
        if at & 1 or at == last:
            before, after = node(each, before), node(each, after)
            at, last = _up(at, last)
        else:
            after = node(after, each)
        at, last = at >> 1, last >> 1
    return not last and before == old_root and after == root


def _up(at: int, last: int) -> tuple[int, int]:
    """As far up as a subtree is the last and has no neighbour on its right."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last
