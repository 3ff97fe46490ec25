"""What a connection is to its namespace, and whether the configuration wants it. Pure functions over columns."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from anetcon.decode.columns import Array
from anetcon.record import GROUPS, Class, Family

_MIX = np.uint64(0x9E3779B97F4A7C15)
_BITS = 16


def translated(destination: Array, nat_destination: Array, port: Array, nat_port: Array) -> Array:
    """Which connections had their destination translated; addresses as (n, 2) uint64."""
    changed: Array = (destination[:, 1] != nat_destination[:, 1]) | (port != nat_port)
    changed |= destination[:, 0] != nat_destination[:, 0]
    return changed


class OwnAddresses:
    """The addresses each namespace has itself, as a filter that is nearly free for everybody else's.

    A table of one byte per hash says for most addresses at once that no namespace has them; the few that remain are
    looked up exactly, by namespace code.
    """

    def __init__(self) -> None:
        self._keys = np.zeros(0, np.uint64)
        self._codes = np.zeros(0, np.int32)
        self._words = np.zeros((0, 2), np.uint64)
        self._maybe = np.zeros(1 << _BITS, np.bool_)

    def set(self, code: int, owned: Collection[tuple[Family, bytes]]) -> None:
        """Take (family, 16-byte address) as all that the namespace of this code has from now on."""
        stays = self._codes >> 1 != code
        if not stays.all():
            self._keys, self._codes, self._words = self._keys[stays], self._codes[stays], self._words[stays]
            self._maybe[:] = False
            self._maybe[_hash(self._words)] = True
        codes = np.array([_place(code, family) for family, _ in owned], np.int32)
        words = np.frombuffer(b"".join(address for _, address in owned), np.uint64).reshape(-1, 2)
        keys = _keys(codes, words)
        order = np.argsort(keys)
        at = np.searchsorted(self._keys, keys[order])
        self._keys = np.insert(self._keys, at, keys[order])
        self._codes = np.insert(self._codes, at, codes[order])
        self._words = np.insert(self._words, at, words[order], axis=0)
        self._maybe[_hash(words)] = True

    def reached(self, codes: Array, families: Array, addresses: Array) -> Array:
        """Which rows' address, as (n, 2) uint64, belongs to the row's own namespace."""
        result: Array = self._maybe[_hash(addresses)]
        rows = np.flatnonzero(result)
        if len(rows):
            places = _place(codes[rows], families[rows])
            at = np.searchsorted(self._keys, _keys(places, addresses[rows])).clip(max=len(self._keys) - 1)
            same = (self._words[at] == addresses[rows]).all(axis=1)
            result[rows] = same & (self._codes[at] == places)
        return result


def _place(code: Any, family: Any) -> Any:
    """A namespace's code and a family as one number."""
    return 2 * code + family


def _keys(codes: Array, words: Array) -> Array:
    """One sortable number for a namespace and an address."""
    mixed: Array = (words[:, 0] * _MIX ^ words[:, 1]) * _MIX + codes.astype(np.uint64)
    return mixed


def _hash(words: Array) -> Array:
    hashed: Array = ((words[:, 1] ^ words[:, 0]) * _MIX) >> np.uint64(64 - _BITS)
    return hashed


def classes(of: dict[str, Array], words: dict[str, Array], rows: slice, own: OwnAddresses) -> Array:
    """The class of each row: `local` before `float` before `nat` (docs/reference: class)."""
    codes, families, destinations = of["netns"][rows], of["family"][rows], words["nat_dst_ip"][rows]
    moved = translated(words["dst_ip"][rows], words["nat_dst_ip"][rows], of["dst_port"][rows], of["nat_dst_port"][rows])
    result = np.where(moved, np.int8(Class.FLOAT), np.int8(Class.NAT))
    result[own.reached(codes, families, destinations)] = Class.LOCAL
    told = np.flatnonzero(_to_group(families, destinations))
    if len(told):
        result[told[own.reached(codes[told], families[told], words["src_ip"][rows][told])]] = Class.LOCAL
    return result


def _to_group(families: Array, destinations: Array) -> Array:
    """Which addresses, as (n, 2) uint64, are of link-local multicast."""
    (ipv4, mask4), (ipv6, mask6) = (
        _words(group.ljust(16, b"\0"), (b"\xff" * len(group)).ljust(16, b"\0")) for group in GROUPS
    )
    found: Array = (destinations[:, 0] & mask6[0]) == ipv6[0]
    found |= (families == Family.IPV4) & ((destinations[:, 1] & mask4[1]) == ipv4[1])
    return found


class Wanted:
    """Which connections the configuration asks for: protocols by number, networks by namespace code.

    Networks narrow class nat alone, by original source; an empty set of protocols means all.
    """

    def __init__(self, protocols: set[int], networks: dict[int, list[tuple[bytes, bytes, Family]]]) -> None:
        self._protocols = np.isin(np.arange(256), sorted(protocols)) if protocols else None
        self._networks = {
            code: np.array([(*_words(*net), np.full(2, family, np.uint64)) for *net, family in nets])
            for code, nets in networks.items()
        }

    def choose(self, of: dict[str, Array], sources: Array, rows: slice) -> Array | None:
        """A mask over the rows, or None when all are wanted. `sources` are the original ones, (n, 2) uint64."""
        if self._protocols is None and not self._networks:
            return None
        codes = of["netns"][rows]
        chosen = np.ones(len(codes), np.bool_) if self._protocols is None else self._protocols[of["proto"][rows]]
        for code, networks in self._networks.items():
            asked = (codes == code) & (of["class"][rows] == Class.NAT)
            of_family = of["family"][rows, None] == networks[:, 2, 0]
            inside = (((sources[:, None] & networks[:, 1]) == networks[:, 0]).all(axis=2) & of_family).any(axis=1)
            chosen &= ~asked | inside
        return chosen


def _words(address: bytes, mask: bytes) -> tuple[Array, Array]:
    """A network's address and mask, 16 bytes each, as two words each."""
    return np.frombuffer(address, np.uint64), np.frombuffer(mask, np.uint64)
