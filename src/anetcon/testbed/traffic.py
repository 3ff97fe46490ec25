"""Real connections through real sockets, one at a time, each returned as both sides saw it.

The client's side is what it asked for; the translated side is what the server's own socket says. Nothing here looks at
conntrack, so that tests can judge it by an outside view.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal

from anetcon.errors import AnetconError
from anetcon.testbed.bed import Namespace

PATIENCE = 5.0
"""Seconds any step may take."""
MESSAGE = b"a few bytes of data"
ECHO_REQUEST: dict[int, int] = {socket.AF_INET: 8, socket.AF_INET6: 128}
PING: dict[int, int] = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}

Close = Literal["client", "server", "reset"]


@dataclass(frozen=True)
class Made:
    """One connection, by the field names of a record; `began` and `ended` are microseconds of wall clock around it."""

    proto: int
    src_ip: str
    src_port: int
    dst_ip: str
    dst_port: int
    nat_src_ip: str
    nat_src_port: int
    nat_dst_ip: str
    nat_dst_port: int
    began: int
    ended: int | None = None


class Server:
    """A machine's TCP and UDP port."""

    def __init__(self, namespace: Namespace, address: str, port: int) -> None:
        self.namespace, self.address, self.port = namespace, address, port
        self.tcp = _bound(namespace, socket.SOCK_STREAM, address, port)
        self.udp = _bound(namespace, socket.SOCK_DGRAM, address, port)
        self.tcp.listen(128)

    def close(self) -> None:
        """Close both sockets."""
        self.tcp.close()
        self.udp.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class Tcp:
    """An open TCP connection; `finish` closes it."""

    made: Made
    client: socket.socket = field(repr=False)
    served: socket.socket = field(repr=False)

    def talk(self, data: bytes = MESSAGE) -> None:
        """Send data there and back."""
        for one, other in ((self.client, self.served), (self.served, self.client)):
            one.sendall(data)
            left = len(data)
            while left:
                got = len(other.recv(left))
                if not got:
                    raise AnetconError("the connection was closed while it was in use")
                left -= got

    def abandon(self) -> None:
        """Close the sockets, whatever that says to the other side."""
        self.client.close()
        self.served.close()

    def finish(self, by: Close = "client") -> Made:
        """Close it, first on the side named, or by a reset from the client."""
        if by == "reset":
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.client.close()
            _until_closed(self.served)
        else:
            first, last = (self.client, self.served) if by == "client" else (self.served, self.client)
            first.shutdown(socket.SHUT_WR)
            _until_closed(last)
            last.close()
            _until_closed(first)
        self.abandon()
        self.made = replace(self.made, ended=_now())
        return self.made


def open_tcp(namespace: Namespace, source: str, target: tuple[str, int], server: Server, source_port: int = 0) -> Tcp:
    """Connect from an address of a namespace to `target`, behind which is `server`, and exchange some data."""
    with contextlib.ExitStack() as opened:
        client = opened.enter_context(_bound(namespace, socket.SOCK_STREAM, source, source_port))
        began = _now()
        client.connect(target)
        served, peer = server.tcp.accept()
        opened.enter_context(served).settimeout(PATIENCE)
        made = _made(socket.IPPROTO_TCP, client.getsockname(), target, peer, served.getsockname(), began)
        connection = Tcp(made, client, served)
        connection.talk()
        opened.pop_all()
    return connection


def tcp(
    namespace: Namespace,
    source: str,
    target: tuple[str, int],
    server: Server,
    by: Close = "client",
    source_port: int = 0,
) -> Made:
    """A whole TCP connection, with data, closed `by` one side."""
    return open_tcp(namespace, source, target, server, source_port).finish(by)


def udp(
    namespace: Namespace,
    source: str,
    target: tuple[str, int],
    server: Server,
    answered: bool = True,
    source_port: int = 0,
) -> Made:
    """A datagram, and one back if it is to be answered."""
    with _bound(namespace, socket.SOCK_DGRAM, source, source_port) as client:
        began = _now()
        client.sendto(MESSAGE, target)
        _, peer = server.udp.recvfrom(2048)
        if answered:
            server.udp.sendto(MESSAGE, peer)
            client.recvfrom(2048)
        own = (server.address, server.port)
        return replace(_made(socket.IPPROTO_UDP, client.getsockname(), target, peer, own, began), ended=_now())


def ping(namespace: Namespace, source: str, target: str, server: Namespace, reached: str, identifier: int = 0) -> Made:
    """An echo request to `target` and its answer; it arrives in namespace `server` at the address `reached`.

    A record has the identifier for both source ports, and type*256+code for both destination ports.
    """
    family = _family(source)
    kind, proto = ECHO_REQUEST[family], PING[family]
    identifier = identifier or 1 + int.from_bytes(os.urandom(2), "big") % 65000
    token = os.urandom(16)
    with (
        namespace.socket(family, socket.SOCK_RAW, proto) as client,
        server.socket(family, socket.SOCK_RAW, proto) as listening,
    ):
        for each in (client, listening):
            each.settimeout(PATIENCE)
        client.bind((source, 0))
        began = _now()
        client.sendto(_echo_request(family, identifier, token), (target, 0))
        peer, seen = _arrived(listening, family, kind, token)
        _arrived(client, family, kind + 1 if family == socket.AF_INET6 else 0, token)
    made = _made(proto, (source, identifier), (target, kind << 8), (peer, seen), (reached, kind << 8), began)
    return replace(made, ended=_now())


def _echo_request(family: int, identifier: int, token: bytes) -> bytes:
    packet = struct.pack("!BBHHH", ECHO_REQUEST[family], 0, 0, identifier, 1) + token
    if family == socket.AF_INET6:
        return packet  # the kernel fills in the checksum
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return packet[:2] + struct.pack("!H", ~total & 0xFFFF) + packet[4:]


def _arrived(listening: socket.socket, family: int, kind: int, token: bytes) -> tuple[str, int]:
    """Who sent the echo message of this type and token, and with which identifier."""
    while True:
        data, peer = listening.recvfrom(2048)
        message = data[20:] if family == socket.AF_INET else data
        if message[0] == kind and message[8:24] == token:
            return peer[0], int.from_bytes(message[4:6], "big")


def _made(
    proto: int,
    source: tuple[str, int],
    target: tuple[str, int],
    peer: tuple[str, int],
    own: tuple[str, int],
    began: int,
) -> Made:
    return Made(proto, *source[:2], *target[:2], *peer[:2], *own[:2], began)


def _bound(namespace: Namespace, kind: int, address: str, port: int) -> socket.socket:
    made = namespace.socket(_family(address), kind)
    made.settimeout(PATIENCE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    return made


def _until_closed(connection: socket.socket) -> None:
    """Read until the other side has closed or reset it."""
    try:
        while connection.recv(2048):
            pass
    except ConnectionResetError:
        pass


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _now() -> int:
    return time.time_ns() // 1000
