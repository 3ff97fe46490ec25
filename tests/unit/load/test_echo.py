"""The world answers as a server would, and knows connections again."""

from __future__ import annotations

import numpy as np
import pytest

from tests.load import echo, packets
from tests.load.lives import DATA, DISCARD, REFUSED, SERVER_SEQ
from tests.load.packets import ACK, FIN, ICMP, ICMP6, PSH, RST, SYN, TCP, UDP, Bytes

CLIENT = {False: "203.0.113.7", True: "2001:db8:1::11"}
SERVER = {False: "198.51.100.9", True: "2001:db8:beef::9"}
ROUTER, NOBODY = packets.mac_bytes("fa:16:3e:01:00:02"), packets.mac_bytes("02:00:00:00:00:09")


def frame(proto: int, segment: Bytes, ipv6: bool = False, inbound: bool = False) -> Bytes:
    """A frame from the router's side to a server, or, inbound, to a client of the world's."""
    to = ("2001:db8:c::1" if ipv6 else "192.0.2.1") if inbound else SERVER[ipv6]
    source, destination = packets.address_bytes(CLIENT[ipv6]), packets.address_bytes(to)
    return packets.frames(NOBODY, ROUTER, source, destination, proto, segment)


def only(rows: Bytes) -> echo.Group:
    """The one group that frames of one kind are."""
    ((where, group),) = echo.groups(rows, np.full(len(rows), rows.shape[1]))
    assert where.tolist() == list(range(len(rows)))
    return group


def with_data(head: Bytes, data: bytes = b"x" * DATA) -> Bytes:
    """A header before data."""
    return np.hstack([head, np.frombuffer(data, np.uint8)[None, :]])


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize(
    ("flags", "data", "port", "answer"),
    [
        (SYN, 0, 443, (SYN | ACK, SERVER_SEQ, 1001)),
        (SYN, 0, REFUSED, (RST | ACK, 0, 1001)),
        (PSH | ACK, DATA, 443, (PSH | ACK, 5000, 1000 + DATA)),
        (FIN | ACK, 0, 443, (FIN | ACK, 5000, 1001)),
    ],
)
def test_tcp_is_answered(ipv6: bool, flags: int, data: int, port: int, answer: tuple[int, int, int]) -> None:
    """A SYN, data and a FIN get what a server says, from where they went to where they came from, checksum right."""
    segment = with_data(packets.tcp(1, 4321, port, flags, 1000, 5000), b"x" * data)
    chosen, reply = echo.answers(only(frame(TCP, segment, ipv6)))
    assert chosen.tolist() == [0]
    start = 54 if ipv6 else 34
    assert (
        int(reply[0, start + 13]),
        int(packets.long(reply, start + 4)[0]),
        int(packets.long(reply, start + 8)[0]),
    ) == answer
    head = packets.tcp(1, port, 4321, answer[0], answer[1], answer[2])
    source, destination = packets.address_bytes(SERVER[ipv6]), packets.address_bytes(CLIENT[ipv6])
    wanted = packets.frames(ROUTER, NOBODY, source, destination, TCP, with_data(head, b"x" * data))
    assert reply.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("flags", [RST | ACK, ACK])
def test_resets_and_bare_acknowledgements_are_not_answered(flags: int) -> None:
    """Nothing comes back for them."""
    chosen, reply = echo.answers(only(frame(TCP, packets.tcp(1, 4321, 443, flags, 1000, 5000))))
    assert len(chosen) == len(reply) == 0


@pytest.mark.parametrize(("port", "count"), [(53, 1), (DISCARD, 0)])
def test_a_datagram_comes_back(port: int, count: int) -> None:
    """All but those to the port that answers nothing."""
    chosen, _ = echo.answers(only(frame(UDP, with_data(packets.udp(1, 4321, port, DATA)))))
    assert len(chosen) == count


@pytest.mark.parametrize(("proto", "asked", "answer", "ipv6"), [(ICMP, 8, 0, False), (ICMP6, 128, 129, True)])
def test_an_echo_request_is_answered(proto: int, asked: int, answer: int, ipv6: bool) -> None:
    """By its own identifier and data, the type changed."""
    group = only(frame(proto, with_data(packets.echo(1, asked, 77)), ipv6))
    _, reply = echo.answers(group)
    assert (reply[0, group.start], packets.words(reply, group.start + 4)[0, 0]) == (answer, 77)


def test_what_the_world_opened_is_not_answered() -> None:
    """An instance's answer to a client outside ends there, but tells which connection it was."""
    group = only(frame(TCP, packets.tcp(1, 443, 4321, SYN | ACK, SERVER_SEQ, 56), inbound=True))
    assert len(echo.answers(group)[0]) == 0
    chosen, index = echo.first_packets(group)
    assert (chosen.tolist(), index.tolist()) == ([0], [55])


def test_first_packets_tell_the_connection() -> None:
    """A SYN by its sequence number, a datagram by its data; later segments are not first."""
    assert echo.first_packets(only(frame(TCP, packets.tcp(1, 1, 443, SYN, seq=99))))[1].tolist() == [99]
    assert echo.first_packets(only(frame(TCP, packets.tcp(1, 1, 443, ACK, seq=99))))[1].tolist() == []
    data = (12345).to_bytes(4, "big") + bytes(DATA - 4)
    assert echo.first_packets(only(frame(UDP, with_data(packets.udp(1, 1, 53, DATA), data))))[1].tolist() == [12345]


def test_everything_else_is_left_out() -> None:
    """ARP and other protocols are in no group; mixed frames are sorted by kind."""
    syn, datagram = frame(TCP, packets.tcp(1, 1, 443, SYN)), frame(UDP, with_data(packets.udp(1, 1, 53, DATA)))
    rows = np.zeros((3, datagram.shape[1]), np.uint8)
    rows[0, : syn.shape[1]], rows[1] = syn[0], datagram[0]
    rows[2, 12:14] = 8, 6  # ARP
    found = {
        group.proto: where.tolist() for where, group in echo.groups(rows, np.array([syn.shape[1], rows.shape[1], 42]))
    }
    assert found == {TCP: [0], UDP: [1]}
