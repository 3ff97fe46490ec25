"""Addresses and neighbours of one namespace as intervals, from the kernel's route messages.

Pure: fed with whole messages and the time, it collects rows for the journal's tables `addresses` and `neighbours`.
The MAC behind an inner address cannot be found out later; that is why neighbours are kept. A neighbour's interval
goes on while its entry is merely stale, and ends when the kernel drops it, finds it failed, or sees another MAC.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from anetcon.capture.dump import messages
from anetcon.decode import layout as k
from anetcon.decode.oracle import Malformed, attributes

# linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/neighbour.h
RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
IFINFOMSG_LEN, IFADDRMSG_LEN, NDMSG_LEN = 16, 8, 12
IFLA_IFNAME = 3
IFA_ADDRESS, IFA_LOCAL = 1, 2
NDA_DST, NDA_LLADDR = 1, 2
NUD_INCOMPLETE, NUD_FAILED, NUD_NOARP = 0x01, 0x20, 0x40
NUD_WITHOUT_MAC = NUD_INCOMPLETE | NUD_FAILED | NUD_NOARP
GETLINK_BODY, GETADDR_BODY, GETNEIGH_BODY = bytes(IFINFOMSG_LEN), bytes(IFADDRMSG_LEN), bytes(NDMSG_LEN)

DUMPS = ((RTM_GETLINK, GETLINK_BODY), (RTM_GETADDR, GETADDR_BODY), (RTM_GETNEIGH, GETNEIGH_BODY))
"""What to ask for at attach, in this order."""

Row = dict[str, Any]


def mapped(address: bytes) -> bytes | None:
    """An address of 4 or 16 bytes as the record's 16; None for any other length."""
    if len(address) == 4:
        return b"\0" * 10 + b"\xff\xff" + address
    return address if len(address) == 16 else None


@dataclass
class Context:
    """What is known of one namespace. `rows` collects (table, row) until the owner takes them."""

    node: str
    netns: str
    inode: int
    rows: list[tuple[str, Row]] = field(default_factory=list)
    changed: bool = False
    """Whether the namespace's own addresses changed since the owner last looked."""
    wants_links: bool = False
    """Whether an interface turned up whose name is not known; the owner then asks for the links."""
    _names: dict[int, str] = field(default_factory=dict)
    _open: dict[tuple[str, int, bytes], Row] = field(default_factory=dict)
    _unnamed: list[bytes] = field(default_factory=list)

    def addresses(self) -> list[bytes]:
        """The namespace's own addresses now, 16 bytes each."""
        return [address for table, _, address in self._open if table == "addresses"]

    def feed(self, data: bytes, now: int) -> None:
        """Take one datagram of route messages; malformed ones and unknown kinds are passed over."""
        for kind, _, message in messages(data):
            self.take(kind, message, now)

    def take(self, kind: int, message: bytes, now: int) -> None:
        """Take one route message."""
        try:
            if kind == RTM_NEWLINK:
                self._link(message, now)
            elif kind in (RTM_NEWADDR, RTM_DELADDR):
                self._address(message, kind == RTM_NEWADDR, now)
            elif kind in (RTM_NEWNEIGH, RTM_DELNEIGH):
                self._neighbour(message, kind == RTM_NEWNEIGH, now)
        except (Malformed, struct.error):
            return

    def _link(self, message: bytes, now: int) -> None:
        index = struct.unpack_from("=i", message, k.NLMSG_HDRLEN + 4)[0]
        found = _attributes(message, IFINFOMSG_LEN)
        if IFLA_IFNAME in found:
            self._names[index] = found[IFLA_IFNAME].rstrip(b"\0").decode(errors="replace")
        unnamed, self._unnamed = self._unnamed, []
        for waiting in unnamed:
            self.take(struct.unpack_from("=H", waiting, 4)[0], waiting, now)

    def _address(self, message: bytes, there: bool, now: int) -> None:
        index = struct.unpack_from("=I", message, k.NLMSG_HDRLEN + 4)[0]
        found = _attributes(message, IFADDRMSG_LEN)
        address = mapped(found.get(IFA_LOCAL, found.get(IFA_ADDRESS, b"")))
        if address is None or not self._named(index, message, there):
            return
        self._set("addresses", index, address, {} if there else None, now)

    def _neighbour(self, message: bytes, there: bool, now: int) -> None:
        index, state = struct.unpack_from("=iH", message, k.NLMSG_HDRLEN + 4)
        found = _attributes(message, NDMSG_LEN)
        address = mapped(found.get(NDA_DST, b""))
        mac = found.get(NDA_LLADDR, b"")
        if address is None or not self._named(index, message, there):
            return
        known = there and not state & NUD_WITHOUT_MAC and len(mac) == 6 and any(mac)
        if known or not there or state & NUD_FAILED:
            self._set("neighbours", index, address, {"mac": mac} if known else None, now)

    def _named(self, index: int, message: bytes, there: bool) -> bool:
        if index in self._names:
            return True
        if there and len(self._unnamed) < 1000:
            self._unnamed.append(message)
            self.wants_links = True
        return False

    def _set(self, table: str, index: int, address: bytes, extra: Row | None, now: int) -> None:
        """Begin an interval with `extra` columns, or end the one there is (None)."""
        key = (table, index, address)
        before = self._open.get(key)
        if before is not None and extra is not None and all(before[name] == value for name, value in extra.items()):
            return
        if before is not None:
            self.rows.append((table, {**before, "to": now}))
            del self._open[key]
        if extra is not None:
            row = {"node": self.node, "netns": self.netns, "netns_inode": self.inode, "to": None, "from": now}
            self._open[key] = row = {**row, "interface": self._names[index], "address": address, **extra}
            self.rows.append((table, row))
        self.changed |= table == "addresses"

    def close(self, now: int) -> None:
        """End every interval: the namespace is gone, or nobody watches it any more."""
        self.rows += [(table, {**row, "to": now}) for (table, _, _), row in self._open.items()]
        self._open.clear()


def _attributes(message: bytes, header: int) -> dict[int, bytes]:
    start = k.NLMSG_HDRLEN + header
    return {kind: message[a:b] for kind, _, a, b in attributes(message, start, len(message))}
