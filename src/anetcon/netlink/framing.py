"""The bytes of netlink messages: attributes, one behind the other, each length checked before it is used."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from anetcon.netlink import headers as k


class Malformed(ValueError):  # noqa: N818 - says what the bytes are, not what we failed at
    """The bytes are no ctnetlink event: counted by whoever asked, never shown to a user."""


def attributes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(type, header offset, payload offset, payload end) of each attribute between two offsets.

    Raises Malformed when a length does not fit (linux/netlink.h, struct nlattr).
    """
    while start < end:
        if end - start < k.NLA_HDRLEN:
            raise Malformed("bytes behind the last attribute")
        length, kind = struct.unpack_from("=HH", data, start)
        if length < k.NLA_HDRLEN or start + length > end:
            raise Malformed("an attribute's length does not fit")
        yield kind & k.NLA_TYPE_MASK, start, start + k.NLA_HDRLEN, start + length
        start += (length + 3) & ~3
