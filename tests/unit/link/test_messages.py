"""Messages are on the wire what they were before they had types; what is none is refused in a sentence."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.gaps import Cause, Gap
from anetcon.link import messages
from anetcon.link.messages import Message, decode, encode

WIRE: list[tuple[Message, dict[str, Any]]] = [
    (
        messages.Attach(3, "r1", 7, 10, 20, newborn=True, resumed=False),
        {"op": "attach", "slot": 3, "netns": "r1", "inode": 7, "noticed": 10, "attached": 20}
        | {"newborn": True, "resumed": False},
    ),
    (messages.Detach(3, messages.GONE), {"op": "detach", "slot": 3, "why": "gone"}),
    (messages.Detach(3, Cause.DESELECTED), {"op": "detach", "slot": 3, "why": "deselected"}),
    (messages.Kmsg(), {"op": "kmsg"}),
    (messages.Name("r1", 7), {"op": "name", "netns": "r1", "inode": 7}),
    (messages.RulesetChanged(3, 5, []), {"op": "ruleset", "slot": 3, "since": 5, "legacy": []}),
    (messages.Invalid(3, 1, 2, 9, 4), {"op": "untracked", "slot": 3, "from": 1, "to": 2, "count": 9, "left": 4}),
    (messages.Sample(3), {"op": "sample", "slot": 3}),
    (
        Gap("r1", 1, None, Cause.TABLE_FULL),
        {"op": "gap", "netns": "r1", "from": 1, "to": None, "cause": "table-full", "lost": None},
    ),
    (
        Gap(None, 1, 2, Cause.OVERRUN, 7),
        {"op": "gap", "netns": None, "from": 1, "to": 2, "cause": "overrun", "lost": 7},
    ),
    (messages.Hello(), {"op": "hello"}),
    (messages.Detached(3), {"op": "detached", "slot": 3}),
    (messages.Tracks(3, ["ip", "ip6"]), {"op": "tracks", "slot": 3, "families": ["ip", "ip6"]}),
    (
        messages.Remark(3, Cause.TRACKING_OFF, None),
        {"op": "found", "slot": 3, "cause": "tracking-off", "what": None},
    ),
]
"""Each message, and the object that the version before this one sends and reads."""


@pytest.mark.parametrize(("message", "wire"), WIRE)
def test_messages_are_on_the_wire_as_before(message: Message, wire: dict[str, Any]) -> None:
    """Both ways, field by field; and what a later version says more is passed over."""
    assert json.loads(encode(message)) == wire
    for found in (wire, wire | {"colour": [1]}):
        again = decode(json.dumps(found).encode())
        assert (type(again), again) == (type(message), message)


def test_every_message_is_tried() -> None:
    """None is missing above."""
    assert {wire["op"] for _, wire in WIRE} == set(messages._OPERATIONS)


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (b'{"op":"dance","slot":1}', "'dance' is unknown"),
        (b'{"op":["dance"]}', "it names no operation"),
        (b'["hello"]', "it names no operation"),
        (b"{", "it is no JSON"),
        (b'{"op":"detached"}', "'detached' without a 'slot' as it has to be"),
        (b'{"op":"detached","slot":"1"}', "'detached' without a 'slot'"),
        (b'{"op":"detached","slot":true}', "'detached' without a 'slot'"),
        (b'{"op":"gap","netns":"a","from":1,"to":2,"lost":1}', "'gap' without a 'cause'"),
        (b'{"op":"untracked","slot":1,"from":1,"to":2,"count":3,"left":null}', "'untracked' without a 'left'"),
    ],
)
def test_what_is_no_message_is_refused(packet: bytes, why: str) -> None:
    """In a sentence that says what is wrong with it."""
    with pytest.raises(ValueError, match=why):
        decode(packet)


def test_a_version_that_counted_less() -> None:
    """What came later than the message has a value of its own."""
    assert decode(b'{"op":"untracked","slot":1,"from":1,"to":2,"count":3}') == messages.Invalid(1, 1, 2, 3)


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)
OBJECTS = st.fixed_dictionaries(
    {"op": st.sampled_from(sorted(messages._OPERATIONS)) | VALUES},
    optional={key: VALUES for _, wire in WIRE for key in wire if key != "op"},
)


@given(OBJECTS.map(lambda found: json.dumps(found).encode()) | st.binary(max_size=300))
def test_whatever_comes_is_a_message_or_a_value_error(packet: bytes) -> None:
    """And a message has fields of the types that it says, so that it can be sent on."""
    with suppress(ValueError):
        message = decode(packet)
        for field, hint in messages._HINTS[type(message)].items():
            assert type(getattr(message, field)) in messages._plain(hint) | {Cause}
        assert decode(encode(message)) == message


@given(st.integers(1, 60_000), st.sampled_from([b"[", b'{"op":', b'{"op":"found","slot":0,"cause":"c","what":[']))
def test_nested_as_deep_as_a_packet_is_long(depth: int, begin: bytes) -> None:
    """It is a ValueError like all others."""
    with pytest.raises(ValueError, match="it is no JSON"):
        decode((begin * depth)[:65_536])
