"""The mixed load's connections are each their own, and both sides say what the other expects."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from anetcon.testbed.topology import Router
from tests.load import lives
from tests.load.lives import ECHO, KINDS, SERVER_SEQ, Kind, Truth
from tests.load.packets import ACK, FIN, RST, SYN, TCP, long


def routers(count: int) -> list[Router]:
    """Stand-ins that know what the addresses are made of."""
    made = [
        SimpleNamespace(number=n, snat=f"203.0.113.{n}", floating={f"203.0.113.{100 + n}": f"10.{n}.0.11"})
        for n in range(1, count + 1)
    ]
    return cast(list[Router], made)


@pytest.fixture(scope="module")
def truth() -> Truth:
    """Some thousand connections through three routers."""
    return lives.truth(routers(3), 5000, seed=7, block=512)


def test_every_kind_occurs_as_often_as_it_should(truth: Truth) -> None:
    """Shares are whole together, and the drawn ones are near them."""
    assert sum(kind.share for kind in KINDS) == pytest.approx(1)
    drawn = np.bincount(truth.kind, minlength=len(KINDS)) / len(truth.kind)
    assert drawn == pytest.approx([kind.share for kind in KINDS], abs=0.03)


def test_no_two_connections_are_alike(truth: Truth) -> None:
    """Protocol, addresses and ports differ between any two."""
    columns = [truth.proto[:, None], truth.src_ip, truth.src_port[:, None], truth.dst_ip, truth.dst_port[:, None]]
    assert len(np.unique(np.hstack(columns), axis=0)) == len(truth.kind)


def test_rows_are_in_the_order_of_making(truth: Truth) -> None:
    """Within a block, connections of one router follow each other."""
    for start in range(0, len(truth.router), 512):
        of_block = truth.router[start : start + 512]
        assert (np.diff(of_block) >= 0).all()


def test_too_many_for_the_routers_is_refused() -> None:
    """More than a router has 5-tuples for is an error that says what to do."""
    with pytest.raises(ValueError, match="take more routers"):
        lives.truth(routers(1), lives.MOST + 1, seed=1, block=512)


def replayed(kind: Kind) -> list[tuple[bool, int, int, int, int]]:
    """A TCP life with the echo's answers put in: who speaks, flags, seq, ack and data, relative to both beginnings."""
    said = []
    for packet in kind.life:
        said.append((packet.opener, packet.flags, packet.seq, packet.ack, packet.data))
        answered = not kind.inbound and not packet.flags & RST and (packet.flags != ACK or packet.data)
        if answered:
            syn = bool(packet.flags & SYN)
            reset = kind.service == lives.REFUSED
            flags = (RST if reset else packet.flags) | ACK
            ack = packet.seq + packet.data + bool(packet.flags & (SYN | FIN))
            said.append((False, flags, 0 if syn else packet.ack, ack, packet.data))
    return said


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.proto == TCP], ids=lambda kind: kind.name)
def test_sequence_numbers_follow_each_other(kind: Kind) -> None:
    """Each segment begins where its side stopped and acknowledges what the other has said."""
    expected = {True: 0, False: 0}
    for opener, flags, seq, ack, data in replayed(kind):
        if not flags & RST or opener:
            assert seq == expected[opener], (kind.name, flags)
        if flags & ACK:
            assert ack == expected[not opener], (kind.name, flags)
        expected[opener] = seq + data + bool(flags & (SYN | FIN))


def test_packets_come_from_who_speaks(truth: Truth) -> None:
    """The opener sends from its address to the target; the other side from behind the translation to the client."""
    code, kind = next((c, k) for c, k in enumerate(KINDS) if k.name == "tcp to floating")
    rows = np.flatnonzero(truth.kind == code)[:5]
    source, destination, segment = lives.segments(truth, rows, kind, kind.life[0])
    assert source.tobytes() == truth.src_ip[rows][:, 12:].tobytes()
    assert destination.tobytes() == truth.dst_ip[rows][:, 12:].tobytes()
    assert long(segment, 4).tolist() == rows.tolist()
    source, destination, segment = lives.segments(truth, rows, kind, kind.life[1])
    assert source.tobytes() == truth.nat_dst_ip[rows][:, 12:].tobytes()
    assert destination.tobytes() == truth.src_ip[rows][:, 12:].tobytes()
    assert long(segment, 4).tolist() == [SERVER_SEQ] * 5
    assert long(segment, 8).tolist() == (rows + 1).tolist()


def test_an_echo_has_its_type_where_a_record_has_it(truth: Truth) -> None:
    """For ICMP the destination port is type*256+code."""
    for code, kind in enumerate(KINDS):
        if kind.proto in ECHO:
            ports: Any = truth.dst_port[truth.kind == code]
            assert set(ports.tolist()) == {ECHO[kind.proto][0] << 8}
