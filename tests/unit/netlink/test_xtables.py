"""The targets of iptables-legacy are found in a table as the kernel keeps it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.netlink import xtables as legacy

SIZES = {88: 112, 140: 168}
"""Bytes of struct ipt_entry and ip6t_entry, by where they say where the target is."""


def entry(offset: int, name: bytes, info: bytes = b"", matches: bytes = b"") -> bytes:
    """A rule: its fixed part, what it matches, its target."""
    fixed = SIZES[offset]
    target = struct.pack("=H29sB", 32 + len(info), name, 2) + info
    head = bytearray(fixed)
    struct.pack_into("=HH", head, offset, fixed + len(matches), fixed + len(matches) + len(target))
    return bytes(head) + matches + target


def ct(flags: int, events: int) -> bytes:
    """What a target CT says, with the helper, the timeout and the kernel's own pointer behind it."""
    return struct.pack("=HHI", flags, 7, events) + bytes(64)


@pytest.mark.parametrize("offset", SIZES)
def test_targets_are_found_among_others(offset: int) -> None:
    """Every CT and NOTRACK, whatever stands before it; verdicts, chains' ends and other targets are none."""
    rules = [
        entry(offset, b"", bytes(8), matches=bytes(48)),
        entry(offset, b"CT", ct(1, 0), matches=bytes(40)),
        entry(offset, b"CONNMARK", bytes(16)),
        entry(offset, b"CT", ct(0, 5)),
        entry(offset, b"NOTRACK"),
        entry(offset, b"ERROR", b"ERROR".ljust(32, b"\0")),
    ]
    assert list(legacy.parse(b"".join(rules), offset)) == [("CT", 1, 0), ("CT", 0, 5), ("NOTRACK", 0, 0)]


@given(st.binary(max_size=600), st.sampled_from(sorted(SIZES)))
def test_anything_is_parsed_to_an_end(entries: bytes, offset: int) -> None:
    """Bytes that are no table neither fail nor go on for ever."""
    assert len(list(legacy.parse(entries, offset))) <= len(entries)


@given(st.sampled_from(sorted(SIZES)), st.integers(0, 400))
def test_a_table_that_is_cut(offset: int, length: int) -> None:
    """What is whole is found, what is cut is not made up."""
    whole = entry(offset, b"CT", ct(1, 0)) + entry(offset, b"CT", ct(0, 1))
    found = list(legacy.parse(whole[:length], offset))
    assert found in ([], [("CT", 0, 0)], [("CT", 1, 0)], [("CT", 1, 0), ("CT", 0, 0)], [("CT", 1, 0), ("CT", 0, 1)])
