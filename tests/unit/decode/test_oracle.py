"""The slow decoder, against what the kernel really said and what it never would."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.decode.oracle import Event, decode, end_reason
from anetcon.netlink.framing import Malformed
from anetcon.record import EndReason, Family, Reply
from tests.support.strategies import messages

RECORDED = sorted((Path(__file__).parents[2] / "data" / "ctnetlink").glob("*.json"))


def expected(case: Path) -> tuple[bytes, dict[str, object]]:
    """A recorded message and the event it is."""
    recorded = json.loads(case.read_text())
    return bytes.fromhex(recorded["message"]), recorded["event"]


def flat(event: Event) -> dict[str, object]:
    """What an event says, by name."""
    values = dataclasses.asdict(event)
    sourced = values.pop("sourced")
    return {**values, **sourced}


def plain(event: Event) -> dict[str, object]:
    """An event as JSON has it."""
    values = flat(event)
    for name, value in values.items():
        if isinstance(value, bytes):
            values[name] = value.hex()
        elif isinstance(value, EndReason | Family | Reply):
            values[name] = value.name
    return values


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case.stem)
def test_recorded(case: Path) -> None:
    """A message recorded from a kernel decodes to the event it was."""
    message, event = expected(case)
    assert plain(decode(message)) == event


def test_recorded_cases_cover_what_is_promised() -> None:
    """The recorded messages have every kind of connection, zones, marks, counters and most reasons to end."""
    events = [expected(case)[1] for case in RECORDED]
    assert {1, 6, 17, 47, 58} <= {event["proto"] for event in events}
    assert any(event["zone"] for event in events)
    assert any(event["mark"] for event in events)
    assert any(event["packets_out"] for event in events)
    assert {"CLOSED", "RESET", "TIMEOUT", "DELETED"} <= {event["end_reason"] for event in events}


@given(messages())
def test_what_is_packed_is_decoded(case: tuple[bytes, dict[str, object]]) -> None:
    """A message that says something decodes to just that."""
    message, says = case
    event = flat(decode(message))
    assert {name: event[name] for name in says} == says


@given(messages(), st.data())
def test_truncated_is_malformed(case: tuple[bytes, dict[str, object]], data: st.DataObject) -> None:
    """A message cut anywhere is refused."""
    message, _ = case
    cut = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(Malformed):
        decode(message[:cut])


@given(st.binary(max_size=600))
def test_random_bytes_never_raise_anything_else(noise: bytes) -> None:
    """Bytes that are no message are refused as such, and it ends."""
    with pytest.raises(Malformed):
        decode(noise)


@pytest.mark.parametrize(
    ("port_id", "tcp_state", "timeout", "reason"),
    [
        (7, 8, 0, EndReason.DELETED),
        (0, 8, 3, EndReason.RESET),
        (0, 7, 3, EndReason.CLOSED),
        (0, 6, None, EndReason.CLOSED),
        (0, 3, None, EndReason.TIMEOUT),
        (0, 3, 100, EndReason.EVICTED),
        (0, None, None, EndReason.TIMEOUT),
        (0, None, 10, EndReason.EVICTED),
    ],
)
def test_end_reason(port_id: int, tcp_state: int | None, timeout: int | None, reason: EndReason) -> None:
    """The reasons are asked in the record's order."""
    assert end_reason(port_id, tcp_state, timeout) is reason
