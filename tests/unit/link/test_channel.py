"""The channel carries objects and descriptors, and never waits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.gaps import Cause
from anetcon.link import channel
from anetcon.link.channel import Channel
from anetcon.link.messages import Detached, Hello, Remark, Sample


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """Both ends of a channel."""
    left, right = (Channel(end) for end in channel.pair())
    yield left, right
    left.close()
    right.close()


def test_a_message_arrives_with_its_descriptors(ends: tuple[Channel, Channel]) -> None:
    """What is sent is received, and its descriptors are the same open files, closed on exec."""
    read, write = os.pipe()
    ends[0].send(Sample(3), [write])
    os.close(write)
    received = ends[1].receive()
    assert received is not None
    message, (copy,) = received
    assert message == Sample(3)
    assert not os.get_inheritable(copy)
    os.write(copy, b"x")
    assert os.read(read, 1) == b"x"
    os.close(copy)
    os.close(read)


def test_nothing_there_is_none(ends: tuple[Channel, Channel]) -> None:
    """An empty channel does not block."""
    assert ends[0].receive() is None


def test_a_full_channel_queues_in_order(ends: tuple[Channel, Channel]) -> None:
    """What does not fit waits with copies of its descriptors, and arrives in order."""
    left, right = ends
    read, write = os.pipe()
    count = 0
    while left.queued < 3:
        left.send(Remark(count, Cause.TRACKING_OFF, "x" * 5000), [write])
        count += 1
    os.close(write)
    numbers: list[object] = []
    while len(numbers) < count:
        left.flush()
        while (received := right.receive()) is not None:
            assert isinstance(received[0], Remark)
            numbers.append(received[0].slot)
            os.close(received[1][0])
    assert numbers == list(range(count))
    assert left.queued == 0
    assert os.read(read, 1) == b""  # the end of the pipe: no copy of the writing end is left
    os.close(read)


def test_the_end_is_told_after_the_last_message(ends: tuple[Channel, Channel]) -> None:
    """A closed other end is EOFError for the reader, once all messages are read, and OSError for the writer."""
    left, right = ends
    left.send(Detached(1))
    left.close()
    assert right.receive() == (Detached(1), [])
    with pytest.raises(EOFError):
        right.receive()
    with pytest.raises(OSError, match="Broken pipe"):
        right.send(Detached(2))


def test_a_peer_that_died_with_messages_unread_loses_none_of_its_own(ends: tuple[Channel, Channel]) -> None:
    """The kernel reports a reset before the last messages of such a peer: they are read all the same."""
    left, right = ends
    right.send(Hello())
    left.send(Sample(1))
    right.close()
    assert left.receive() == (Hello(), [])
    with pytest.raises(EOFError):
        left.receive()


def test_a_packet_too_large_is_refused(ends: tuple[Channel, Channel]) -> None:
    """A packet that could not be received whole is not sent."""
    with pytest.raises(ValueError, match="at most 65536"):
        ends[0].send(Remark(1, Cause.TRACKING_OFF, "x" * channel.MAX_PACKET))


DEEP = st.builds(
    lambda begin, depth, end: (begin * depth + end)[: channel.MAX_PACKET],
    st.sampled_from([b"[", b'{"a":', b'[{"b":', b"[[1],"]),
    st.integers(1, 60_000),
    st.binary(max_size=20),
)
"""Nested as deep as a packet is long."""


@given(st.binary(min_size=1, max_size=2000) | DEEP)
def test_garbage_is_one_error_and_leaks_no_descriptor(packet: bytes) -> None:
    """Whatever arrives is either a message or a ValueError."""
    raw, end = channel.pair()
    reader = Channel(end)
    raw.send(packet)
    with contextlib.suppress(ValueError):
        received = reader.receive()
        assert received is not None
    raw.close()
    with pytest.raises(EOFError):
        reader.receive()
    reader.close()
