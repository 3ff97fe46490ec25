"""Route messages of the kernel."""

from __future__ import annotations

import ipaddress
import struct

from anetcon.capture import routes as r
from tests.support.messages import attribute


def message(
    network: str,
    *attributes: bytes,
    kind: int = r.RTN_UNICAST,
    table: int = 254,
    flags: int = 0,
    there: bool = True,
    replaces: bool = False,
) -> bytes:
    """A route to a network appears or goes."""
    parsed = ipaddress.ip_network(network)
    family = r.AF_INET if parsed.version == 4 else r.AF_INET6
    said = [attribute(r.RTA_DST, parsed.network_address.packed)] if parsed.prefixlen else []
    said.append(attribute(r.RTA_TABLE, struct.pack("=I", table)))
    body = struct.pack("=BBBBBBBBI", family, parsed.prefixlen, 0, 0, min(table, 252), 3, 0, kind, flags)
    body += b"".join((*said, *attributes))
    number = r.RTM_NEWROUTE if there else r.RTM_DELROUTE
    return struct.pack("=IHHII", 16 + len(body), number, 0x100 if replaces else 0x600, 0, 0) + body


def by(index: int) -> bytes:
    """The interface of a route that has one."""
    return attribute(r.RTA_OIF, struct.pack("=I", index))
