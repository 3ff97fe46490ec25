"""Packets that conntrack calls invalid and that leave a namespace: counted by a rule of ours, and a sample of them
logged to a socket that capture reads. Only with `record_invalid = true`.

The rule needs conntrack, so a table of ours stands only for a family of which conntrack runs without us, as capture
says; when that is over, it is taken away. The socket is bound to a group of its own (nfnetlink_log) and belongs to the
namespace: with it closed the kernel logs nothing there. A daemon that is replaced opens it anew: it is a sample.

Refuses to wait: nft runs as a child.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from anetcon.keeper import syscalls as sc
from anetcon.keeper.activate import Activation, Table
from anetcon.keeper.attach import Home, Sockets
from anetcon.keeper.channel import Message
from anetcon.keeper.children import Reaper
from anetcon.keeper.report import ERROR
from anetcon.keeper.roster import Audited
from anetcon.rules import netlink

NAME = "anetcon_packets"
FAMILIES = {"ip": 2, "ip6": 10}
"""Families of nftables, as the kernel numbers them: IPv6 may be tracked where IPv4 is not, and the other way."""

RATE = 100
"""Packets a second, of a family, that are logged; and as many at once. All are counted."""

GROUP = 27911
"""The group of nfnetlink_log; other programs take small numbers."""

BYTES = 128
"""Of each packet: its headers."""

LATE = 10
"""Hundredths of a second that the kernel keeps a message, to tell more at once."""

BUFFER = 1 << 18
COUNTER = "left"

_CHAIN = (
    f"counter {COUNTER} {{ }}\n chain postrouting {{\n  type filter hook postrouting priority 1000; policy accept;\n"
    f"  ct state invalid counter name {COUNTER} limit rate {RATE}/second burst {RATE} packets"
    f" log group {GROUP} snaplen {BYTES}\n }}\n"
)

# linux/netfilter/nfnetlink_log.h, nf_tables.h
_CONFIG = 4 << 8 | 1
NFULA_CFG_CMD, NFULA_CFG_MODE, NFULA_CFG_TIMEOUT = 1, 2, 4
NFULNL_CFG_CMD_BIND, NFULNL_COPY_PACKET = 1, 2
NLM_F_REQUEST, NLM_F_ACK = 1, 4
NFT_MSG_GETOBJ = 19
NFTA_OBJ_TABLE, NFTA_OBJ_NAME, NFTA_OBJ_TYPE, NFTA_OBJ_DATA = 1, 2, 3, 4
NFT_OBJECT_COUNTER, NFTA_COUNTER_PACKETS = 1, 2
_ATTRIBUTE = struct.Struct("=HH")


def kept(family: str) -> str:
    """The file of the store that says in which namespaces the table of a family stands."""
    return f"sampled-{family}.json"


def made(family: str) -> Table:
    """Our table of a family."""
    return Table(f"{family} {NAME}", _CHAIN, "count packets that are invalid")


class Sampling:
    """Of all namespaces. `send` gives capture a message and descriptors."""

    def __init__(
        self,
        home: Home,
        reaper: Reaper,
        store: Path,
        send: Callable[[Message, Sequence[int]], None],
        report: Callable[[str], None],
    ) -> None:
        self._home = home
        self._send = send
        self._report = report
        self._tables: dict[str, Activation] = {}
        self._refused: set[Audited] = set()
        """Where no socket could be had, which was said."""
        self._by_inode: dict[int, Audited] = {}
        for family in FAMILIES:
            self._tables[family] = Activation(home, reaper, store / kept(family), report, made(family))
            self._tables[family].added = self._adder(family)

    @property
    def busy(self) -> bool:
        """Whether a child is at work."""
        return any(each.busy for each in self._tables.values())

    def tick(self, attached: list[tuple[Audited, Sockets]], path: Callable[[str], Path | None]) -> None:
        """See to tables and sockets in these namespaces, and that there are none in any other."""
        self._by_inode = {audited.inode: audited for audited, _ in attached}
        self._refused &= set(self._by_inode.values())
        for family, tables in self._tables.items():
            there = [audited for audited, _ in attached if audited.tracks is None or family in audited.tracks]
            tables.keep({(audited.name, audited.inode) for audited in there}, path)
        for audited, sockets in attached:
            for family, tables in self._tables.items():
                if audited.tracks is None or family not in audited.tracks:
                    audited.left.pop(family, None)
                elif self._listens(audited, sockets, path(audited.name)):
                    tables.look(audited.name, audited.inode, path(audited.name), family not in audited.left)

    def close(self, attached: list[tuple[Audited, Sockets]], path: Callable[[str], Path | None]) -> None:
        """It is not wanted any more."""
        self.tick([], path)
        for audited, sockets in attached:
            audited.left.clear()
            if sockets.sample is not None:
                sockets.sample.close()
                sockets.sample = None

    def tell_again(self, attached: list[tuple[Audited, Sockets]]) -> None:
        """Capture is a new one."""
        for audited, sockets in attached:
            self._tell(audited, sockets)

    def _adder(self, family: str) -> Callable[[str, int], None]:
        def added(_: str, inode: int) -> None:
            if inode in self._by_inode:
                self._by_inode[inode].left[family] = 0

        return added

    def _listens(self, audited: Audited, sockets: Sockets, path: Path | None) -> bool:
        """Whether there is a socket, opened now if need be. While another program has our group it is tried again."""
        if sockets.sample is None:
            try:
                with self._home.entered(path) as inode:
                    if inode != audited.inode:
                        return False
                    sockets.sample = listen()
            except OSError as error:
                if audited not in self._refused and error.errno != errno.ENOENT:  # gone: the listing will tell
                    self._refused.add(audited)
                    why = error.strerror or error
                    self._report(
                        f"{ERROR}cannot record packets that are invalid in {audited.netns}: {why}; trying again"
                    )
                return False
            self._tell(audited, sockets)
        return True

    def _tell(self, audited: Audited, sockets: Sockets) -> None:
        if sockets.sample is not None:
            self._send({"op": "sample", "slot": audited.slot}, [sockets.sample.fileno()])


def listen() -> socket.socket:
    """A socket that gets what our rules log in the namespace we are in. OSError when it cannot be had."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, sc.NETLINK_NETFILTER)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, sc.SO_RCVBUFFORCE, BUFFER)
        opened.setsockopt(sc.SOL_NETLINK, sc.NETLINK_NO_ENOBUFS, 1)
        opened.connect((0, 0))  # the kernel refuses what another program sends there
        asked = (
            _attribute(NFULA_CFG_CMD, bytes([NFULNL_CFG_CMD_BIND]))
            + _attribute(NFULA_CFG_MODE, struct.pack(">IBx", BYTES, NFULNL_COPY_PACKET))
            + _attribute(NFULA_CFG_TIMEOUT, struct.pack(">I", LATE))
        )
        head = struct.pack("=IHHII", 20 + len(asked), _CONFIG, NLM_F_REQUEST | NLM_F_ACK, 1, 0)
        opened.send(head + struct.pack(">BBH", 0, 0, GROUP) + asked)
        answer = opened.recv(8192)  # it is there when send returns
        number = -struct.unpack_from("=i", answer, 16)[0]
        if number:
            raise OSError(number, f"group {GROUP} of nfnetlink_log: {os.strerror(number)}")
    except OSError:
        opened.close()
        raise
    return opened


def left(asking: socket.socket, family: str) -> int | None:
    """How many packets our rule of a family counted in the namespace of a non-blocking netfilter socket; None: it is
    not there. OSError when the kernel does not tell."""
    parts = _attribute(NFTA_OBJ_TABLE, NAME.encode() + b"\0") + _attribute(NFTA_OBJ_NAME, COUNTER.encode() + b"\0")
    parts += _attribute(NFTA_OBJ_TYPE, struct.pack(">I", NFT_OBJECT_COUNTER))
    asking.send(netlink.request(NFT_MSG_GETOBJ, FAMILIES[family], parts))
    kind, payload = next(netlink.messages(asking.recv(8192)), (0, b""))
    if kind == netlink.NLMSG_ERROR:
        number = -struct.unpack_from("=i", payload)[0]
        if number == errno.ENOENT:
            return None
        raise OSError(number, os.strerror(number))
    return counted(payload[4:])


def counted(attributes: bytes) -> int:
    """The packets that a counter has, by the attributes of its message; 0 where they do not say."""
    data = _parts(attributes).get(NFTA_OBJ_DATA, b"")
    return int.from_bytes(_parts(data).get(NFTA_COUNTER_PACKETS, b""), "big")


def _parts(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found


def _attribute(kind: int, payload: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload + bytes(-len(payload) % 4)
