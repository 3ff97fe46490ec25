"""The fast decoder against the slow one: on the kernel's own messages, on generated ones, on noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anetcon.decode import ctnetlink
from anetcon.decode.columns import NONE, Columns
from anetcon.decode.ctnetlink import SLOT, TOGETHER, Batch, Decoder, Outcome, Shape, padded
from anetcon.decode.oracle import decode
from anetcon.netlink.framing import Malformed
from anetcon.record import Origin, StartIs
from tests.support.messages import Message, Side
from tests.support.strategies import messages

NOW = 1_790_000_000_000_000
RECORDED = [
    bytes.fromhex(json.loads(case.read_text())["message"])
    for case in sorted((Path(__file__).parents[2] / "data" / "ctnetlink").glob("*.json"))
]


def batch(datagrams: list[bytes], stale: int = 0xAA, origin: Origin = Origin.EVENT) -> Batch:
    """Datagrams as `recvmmsg` leaves them: cut at SLOT, each in a slot with older bytes behind it."""
    slots = np.full((len(datagrams), SLOT), stale, np.uint8)
    for row, datagram in enumerate(datagrams):
        slots[row, : len(datagram[:SLOT])] = np.frombuffer(datagram[:SLOT], np.uint8)
    lengths = np.array([min(len(d), SLOT) for d in datagrams], np.uint32)
    return Batch(slots, lengths, np.arange(len(datagrams), dtype=np.int32), NOW, origin)


def rows(
    datagrams: list[bytes], decoder: Decoder | None = None, origin: Origin = Origin.EVENT
) -> tuple[dict[int, dict[str, Any]], Outcome]:
    """Each datagram's row by its number (given as the namespace code), and the outcome."""
    columns = Columns(len(datagrams))
    outcome = (decoder or Decoder()).decode(batch(datagrams, origin=origin), columns)
    found = {}
    for row in range(columns.rows):
        values = {name: column[row] for name, column in columns.of.items()}
        values = {name: v.tobytes() if v.ndim else v.item() for name, v in values.items()}
        values |= {name: None for name, mask in columns.given.items() if not mask[row]}
        found[values["netns"]] = values
    return found, outcome


def slow_row(datagram: bytes, origin: Origin) -> dict[str, Any] | None:
    """What the row of a datagram must be, by the oracle alone."""
    try:
        event = decode(datagram[:SLOT])
    except Malformed:
        return None
    names = ("family", "src_ip", "src_port", "dst_ip", "dst_port", "nat_src_ip", "nat_src_port", "nat_dst_ip")
    row: dict[str, Any] = {name: getattr(event, name) for name in (*names, "nat_dst_port", "zone")}
    row |= event.sourced
    happened = NOW if event.happened is None else event.happened // 1000
    end = happened if event.stop is None else event.stop // 1000
    otherwise = end if event.destroy else happened
    row["start"] = otherwise if event.start is None else event.start // 1000
    row["end"] = end if event.destroy else NONE
    row["end_reason"] = NONE if event.end_reason is None else int(event.end_reason)
    row["reply"] = event.reply if event.reply is not None and (event.destroy or origin is Origin.DUMP) else NONE
    told = event.happened is not None and not event.destroy and origin is Origin.EVENT
    row["start_is"] = StartIs.BEGIN if told or event.start is not None else StartIs.FOUND
    return row


def agree(datagrams: list[bytes], decoder: Decoder | None = None, origin: Origin = Origin.EVENT) -> Outcome:
    """Both decoders make the same of every datagram."""
    found, outcome = rows(datagrams, decoder, origin)
    for number, datagram in enumerate(datagrams):
        expected = slow_row(datagram, origin)
        if expected is None:
            assert number not in found
            assert number in outcome.undecodable
        else:
            assert {name: found[number][name] for name in expected} == expected
    assert len(found) + len(outcome.undecodable) == len(datagrams)
    return outcome


def test_the_kernels_own_messages() -> None:
    """Every recorded message decodes as by the oracle, alone and among the others."""
    assert len(RECORDED) > 15
    agree(RECORDED * 3)
    for message in RECORDED:
        agree([message])


@given(st.lists(messages(), min_size=1, max_size=8), st.randoms(), st.sampled_from((Origin.EVENT, Origin.DUMP)))
@settings(deadline=None)
def test_generated_messages(cases: list[tuple[bytes, dict[str, object]]], random: Any, origin: Origin) -> None:
    """Any mixture of messages, the second time by learnt shapes, decodes as by the oracle."""
    mixture = [message for message, _ in cases] * 2
    random.shuffle(mixture)
    decoder = Decoder()
    agree(mixture, decoder, origin)
    again = agree(mixture, decoder, origin)
    assert again.slow == []


@given(st.lists(st.binary(max_size=SLOT + 20) | st.sampled_from(RECORDED), max_size=8), st.data())
@settings(deadline=None)
def test_noise(datagrams: list[bytes], data: st.DataObject) -> None:
    """Random and damaged bytes never raise, never loop, and are counted."""
    damaged = []
    for datagram in datagrams:
        changed = bytearray(datagram)
        if changed and data.draw(st.booleans()):
            changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
        damaged.append(bytes(changed))
    agree(damaged)


def test_one_flipped_header_bit_is_noticed() -> None:
    """A message whose header differs in one bit from a learnt shape is never read by that shape."""
    decoder = Decoder()
    message = RECORDED[0]
    agree([message], decoder)
    for byte in (*range(6), *range(20, 32)):
        for bit in range(8):
            changed = bytearray(message)
            changed[byte] ^= 1 << bit
            agree([bytes(changed), message], decoder)


@given(data=st.data(), count=st.integers(1, 3 * TOGETHER))
def test_whether_all_are_of_a_shape(data: st.DataObject, count: int) -> None:
    """As which are tells, wherever one of many differs, in one bit or in all."""
    shape, width = Shape(RECORDED[0]), padded(len(RECORDED[0]))
    many = np.tile(np.frombuffer(RECORDED[0].ljust(width, b"\0"), np.uint8), (count, 1))
    assert shape.all_match(many.view(np.uint64))
    row, byte = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, width - 1))
    many[row, byte] ^= data.draw(st.integers(1, 255))
    assert shape.all_match(many.view(np.uint64)) == bool(shape.matches(many.view(np.uint64)).all())


def test_the_number_of_shapes_is_bounded(monkeypatch: Any) -> None:
    """With no room for another shape, messages are decoded all the same, one by one."""
    monkeypatch.setattr(ctnetlink, "MAX_SHAPES", 2)
    decoder = Decoder()
    agree(RECORDED, decoder)
    outcome = agree(RECORDED, decoder)
    assert decoder.learnt == 2
    assert len(outcome.slow) > 5


def test_a_flood_has_one_shape() -> None:
    """A thousand connections alike take the slow decoder once."""
    side = Side(b"\x0a\0\0\1", b"\xc6\x33\x64\x09", 6, 40000, 443)
    flood = [Message(False, side, side, ct_id=n, timeout=120, tcp_state=1, happened=n).pack() for n in range(1000)]
    _, outcome = rows(flood)
    assert len(outcome.slow) == 1
    assert outcome.undecodable == []


def test_dump_rows_say_so() -> None:
    """Messages of a dump give rows of origin dump."""
    columns = Columns(1)
    given_batch = batch(RECORDED[:1])
    Decoder().decode(Batch(given_batch.slots, given_batch.lengths, given_batch.codes, NOW, Origin.DUMP), columns)
    assert columns.of["origin"][0] == Origin.DUMP
