"""Addresses, neighbours and routes of one namespace as intervals, from the kernel's route messages.

Pure: fed with whole messages and the time, it collects rows for the journal's tables `addresses`, `neighbours` and
`routes`, and says in `wanted` what is to be listed. The MAC behind an inner address cannot be found out later; that is
why neighbours are kept. A neighbour's interval goes on while its entry is merely stale, and ends when the kernel drops
it, finds it failed, or sees another MAC.

A listing is the truth: what it does not have is no more. It is wanted where messages were lost, and for routes whenever
one may have gone (`capture.routes`). What the kernel tells of a change while it is under way is newer than the listing.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anetcon.capture import routes
from anetcon.capture.flood import Flood, Passed
from anetcon.gaps import Cause, Gap
from anetcon.netlink import headers as k
from anetcon.netlink.dump import attributes, messages
from anetcon.netlink.framing import Malformed
from anetcon.record import Family, label
from anetcon.system.clock import Moment
from anetcon.system.printable import recorded

# linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/neighbour.h, linux/nexthop.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWNEXTHOP, RTM_DELNEXTHOP = 104, 105
IFINFOMSG_LEN, IFADDRMSG_LEN, NDMSG_LEN = 16, 8, 12
IFLA_IFNAME = 3
IFA_ADDRESS, IFA_LOCAL = 1, 2
NDA_DST, NDA_LLADDR = 1, 2
NUD_INCOMPLETE, NUD_FAILED, NUD_NOARP = 0x01, 0x20, 0x40
NUD_WITHOUT_MAC = NUD_INCOMPLETE | NUD_FAILED | NUD_NOARP

LINK_LOCAL = {bytes((0xFE, second)) for second in range(0x80, 0xC0)}
"""How addresses begin that nothing forwarded has (fe80::/10): neighbours of them are not recorded."""

MOST_ROUTES = 1000
"""A namespace with more of them is one that routes for others; they are then not followed."""


class KernelTable(NamedTuple):
    """What the kernel can be asked for: everything of a kind, rows of a table, all of them or those of one family."""

    kind: int
    body: bytes
    table: str
    family: str | None = None


LINKS = KernelTable(RTM_GETLINK, bytes(IFINFOMSG_LEN), "")
ADDRESSES = KernelTable(RTM_GETADDR, bytes(IFADDRMSG_LEN), "addresses")
NEIGHBOURS = KernelTable(RTM_GETNEIGH, bytes(NDMSG_LEN), "neighbours")
ROUTES = {
    family: KernelTable(routes.RTM_GETROUTE, routes.get(number), "routes", label(family))
    for number, family in routes.FAMILIES.items()
}
EVERYTHING = (LINKS, ADDRESSES, NEIGHBOURS, *ROUTES.values())
"""What to ask for at attach, in this order."""

Row = dict[str, Any]
Key = tuple[Any, ...]
"""The interface's index, and what else tells a row of one table from the others."""


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
    wanted: dict[KernelTable, int] = field(default_factory=dict)
    """What is to be listed, and since when that may differ from what is known."""
    routes_unknown: bool = False
    """There are too many, or one that cannot be read: none is followed any more."""
    _names: dict[int, str] = field(default_factory=dict)
    _open: dict[str, dict[Key, Row]] = field(default_factory=lambda: {listing.table: {} for listing in EVERYTHING})
    _unnamed: list[bytes] = field(default_factory=list)
    _flood: Flood = field(default_factory=Flood)
    _first: bool = True
    """Whether the neighbours were not listed yet: however many there are when we come, they are no flood."""
    _listing: KernelTable | None = None
    _since: int = 0
    _began: int = 0
    _settled: set[Key] | None = None
    """What the listing had, or a change meanwhile. None before its first answer: what was told until then is older."""
    _listed: bool = False
    """Whether the message that is taken is one of the listing."""
    _reading: int = 0
    _begun: dict[tuple[str, Key], int] = field(default_factory=dict)
    """When rows began that did so in this reading."""

    def addresses(self) -> list[tuple[Family, bytes]]:
        """The namespace's own addresses now, 16 bytes each."""
        return [(key[1], row["address"]) for key, row in self._open["addresses"].items()]

    def take_rows(self) -> list[tuple[str, Row]]:
        """The rows that were collected: they are the caller's now."""
        rows, self.rows = self.rows, []
        return rows

    def take_change(self) -> bool:
        """Whether the namespace's own addresses changed since this was asked last."""
        changed, self.changed = self.changed, False
        return changed

    def tick(self, now: Moment) -> list[str]:
        """Tell of the neighbours that were too many; the interfaces they were on."""
        passed, again = self._flood.over(now.steady)
        if again:
            self.want(now.wall, NEIGHBOURS)
        return self._tell(passed)

    def _tell(self, passed: list[Passed]) -> list[str]:
        for each in passed:
            gap = Gap(self.netns, each.first, each.last, Cause.NEIGHBOURS_FLOOD, each.number, self.node)
            self.rows.append(("gaps", gap.row()))
        return [self._names.get(each.interface, "an interface that is gone") for each in passed]

    def want(self, now: int, *listings: KernelTable) -> None:
        """Of these something may have gone that was not told."""
        for listing in listings:
            if not (listing.table == "routes" and self.routes_unknown):
                self.wanted.setdefault(listing, now)

    def begin(self, listing: KernelTable, now: int) -> None:
        """A listing that was wanted is asked for."""
        self._listing, self._since, self._began, self._settled = listing, self.wanted.pop(listing, now), now, None

    def listed(self, answers: list[bytes]) -> None:
        """Take messages of the listing."""
        self._settled = set() if self._settled is None else self._settled
        self._listed = True
        for message in answers:
            self._take(struct.unpack_from("=H", message, 4)[0], message, self._began)
        self._listed = False

    def end(self, now: int, *, whole: bool) -> None:
        """The listing is over: what it did not have is no more. One that is not whole is wanted again."""
        listing, settled = self._listing, self._settled or set()
        self._listing = self._settled = None
        if listing is None:
            return
        if not whole:
            self.want(self._since, listing)
            return
        for key, row in list(self._open[listing.table].items()):
            if key not in settled and listing.family in (None, row["family"]):
                self._set(listing.table, key, None, max(self._since, row["from"]))
        self._first &= listing is not NEIGHBOURS
        if listing is LINKS:
            self._unnamed.clear()
            for index in self._names.keys() - {key[0] for key in settled}:
                self._lose(index, now)

    def feed(self, data: bytes, now: int) -> None:
        """Take one datagram of what the kernel tells unasked; malformed messages and unknown kinds are passed over."""
        for kind, _, message in messages(data):
            self._take(kind, message, now)

    def _take(self, kind: int, message: bytes, now: int) -> None:
        try:
            if kind in (RTM_NEWLINK, RTM_DELLINK):
                self._link(message, kind == RTM_NEWLINK, now)
            elif kind in (RTM_NEWADDR, RTM_DELADDR):
                self._address(message, kind == RTM_NEWADDR, now)
            elif kind in (RTM_NEWNEIGH, RTM_DELNEIGH):
                self._neighbour(message, kind == RTM_NEWNEIGH, now)
            elif kind in (routes.RTM_NEWROUTE, routes.RTM_DELROUTE):
                self._route(message, kind == routes.RTM_NEWROUTE, now)
            elif kind in (RTM_NEWNEXTHOP, RTM_DELNEXTHOP):
                self.want(now, *ROUTES.values())
        except (Malformed, struct.error):
            return

    def _link(self, message: bytes, there: bool, now: int) -> None:
        family, _, _, index = struct.unpack_from("=BBHi", message, k.NLMSG_HDRLEN)
        if family or not self._counts("", (index,)):  # AF_BRIDGE tells of a bridge's port, which stays an interface
            return
        if not there:
            self._lose(index, now)
            return
        found = attributes(message, IFINFOMSG_LEN)
        if IFLA_IFNAME in found:
            self._name(index, recorded(os.fsdecode(found[IFLA_IFNAME].rstrip(b"\0"))), now)
        if not self._listed:  # going down takes routes along, coming up brings next hops back
            self.want(now, *ROUTES.values())
        unnamed, self._unnamed = self._unnamed, []
        for waiting in unnamed:
            self._take(struct.unpack_from("=H", waiting, 4)[0], waiting, now)

    def _address(self, message: bytes, there: bool, now: int) -> None:
        number, length, _, _, index = struct.unpack_from("=BBBBI", message, k.NLMSG_HDRLEN)
        found = attributes(message, IFADDRMSG_LEN)
        packed = found.get(IFA_LOCAL, found.get(IFA_ADDRESS, b""))
        family, address = routes.FAMILIES.get(number), mapped(packed)
        if family is None or address is None or not self._named(index, message, there, now):
            return
        if found.get(IFA_ADDRESS, packed) != packed:
            length = 8 * len(packed)  # of a link to one peer, the length is the peer's
        fields = {"family": label(family), "address": address, "prefix_length": length}
        self._told("addresses", (index, family, address, length), fields if there else None, now)
        if not there:
            self.want(now, ROUTES[family])

    def _neighbour(self, message: bytes, there: bool, now: int) -> None:
        number, _, _, index, state = struct.unpack_from("=BBHiH", message, k.NLMSG_HDRLEN)
        found = attributes(message, NDMSG_LEN)
        family, address = routes.FAMILIES.get(number), mapped(found.get(NDA_DST, b""))
        mac = found.get(NDA_LLADDR, b"")
        if family is None or address is None or address[:2] in LINK_LOCAL:
            return
        if not self._named(index, message, there, now):
            return
        known = there and not state & NUD_WITHOUT_MAC and len(mac) == 6 and any(mac)
        key, fields = (index, family, address), {"family": label(family), "address": address, "mac": mac}
        if not (known or not there or state & NUD_FAILED):
            self._counts("neighbours", key)
            return
        before = self._open["neighbours"].get(key)
        if known and (before is None or before["mac"] != mac) and not (self._listed and self._first):
            known = self._flood.allows(index, now)
        self._told("neighbours", key, fields if known else None, now)

    def _route(self, message: bytes, there: bool, now: int) -> None:
        if self.routes_unknown:
            return
        try:
            found = routes.route(message)
        except (Malformed, struct.error):
            self._give_up(now)
            return
        if found is None:
            return
        network, replaces = found.network, struct.unpack_from("=H", message, 6)[0] & k.NLM_F_REPLACE
        if replaces or not there:
            self.want(now, ROUTES[network.family])
        if not there:
            return
        fields = {
            "family": label(network.family),
            "network": mapped(network.address),
            "prefix_length": network.prefix_length,
        }
        for index in found.interfaces or ():
            if self._named(index, message, there, now):
                self._told("routes", (index, network), fields, now)
        if found.interfaces is None or len(self._open["routes"]) > MOST_ROUTES:
            self._give_up(now)

    def _give_up(self, now: int) -> None:
        """Follow no route any more."""
        self.routes_unknown = True
        for listing in ROUTES.values():
            self.wanted.pop(listing, None)
        for key in list(self._open["routes"]):
            self._set("routes", key, None, now)

    def _name(self, index: int, name: str, now: int) -> None:
        before, self._names[index] = self._names.get(index, name), name
        if before != name:
            for table, key in self._of(index):
                self._set(table, key, {"interface": name}, now)

    def _lose(self, index: int, now: int) -> None:
        """An interface is gone, and all that was on it."""
        for table, key in self._of(index):
            self._set(table, key, None, now)
        self._names.pop(index, None)
        self.want(now, *ROUTES.values())

    def _of(self, index: int) -> list[tuple[str, Key]]:
        return [(table, key) for table, rows in self._open.items() for key in rows if key[0] == index]

    def _named(self, index: int, message: bytes, there: bool, now: int) -> bool:
        if index in self._names:
            return True
        if there and len(self._unnamed) < MOST_ROUTES:
            self._unnamed.append(message)
            self.want(now, LINKS)
        return False

    def _counts(self, table: str, key: Key) -> bool:
        """Whether a message is the latest word on what it is about; it is from now on."""
        if self._listing is None or self._settled is None or table != self._listing.table:
            return True
        if self._listed and key in self._settled:
            return False
        self._settled.add(key)
        return True

    def _told(self, table: str, key: Key, fields: Row | None, now: int) -> None:
        """A message says that a row is there, with these columns, or that it is not (None)."""
        if self._counts(table, key):
            self._set(table, key, fields and {"interface": self._names[key[0]], **fields}, now)

    def _set(self, table: str, key: Key, fields: Row | None, now: int) -> None:
        """Begin an interval with these columns, or end the one there is (None)."""
        rows = self._open[table]
        before = rows.get(key)
        if before is not None and fields is not None and all(before[name] == value for name, value in fields.items()):
            return
        if now != self._reading:
            self._reading, self._begun = now, {}
        # What goes and comes again within one reading begins later: rows of one beginning are one, and ended with it.
        begun = self._begun.get((table, key))
        now = now if begun is None else begun + (fields is not None)
        if before is not None:
            self.rows.append((table, {**before, "to": now}))
            del rows[key]
        if fields is not None:
            self._begun[table, key] = now
            known = before or {"node": self.node, "netns": self.netns, "netns_inode": self.inode}
            rows[key] = row = {**known, **fields, "from": now, "to": None}
            self.rows.append((table, row))
        self.changed |= table == "addresses"

    def close(self, now: int) -> None:
        """End every interval: the namespace is gone, or nobody watches it any more."""
        self._tell(self._flood.end())
        for table, rows in self._open.items():
            self.rows += [(table, {**row, "to": now}) for row in rows.values()]
            rows.clear()
