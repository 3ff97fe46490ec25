"""Lines as older programs wrote them, for imports."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv6Address

from anetcon.system.printable import namespace_hash
from tests.support.records import ROUTER, SECOND, T0

AT = T0 // SECOND

TCP = "src=10.0.0.5 dst=198.51.100.9 sport=40000 dport=443 {}src=198.51.100.9 dst=203.0.113.7 sport=443 dport=40213 {}"


COUNTED = (
    "src=10.0.0.5 dst=198.51.100.9 sport=40000 dport=443 packets=6 bytes=339 src=198.51.100.9 dst=203.0.113.7 "
    "sport=443 dport=40213 packets=4 bytes=235 [ASSURED] mark=7 {}"
)


NEW = f"[{AT}.000250]\t    [NEW] tcp      6 120 SYN_SENT {TCP.format('[UNREPLIED] ', 'mark=7')}\n"


DESTROY = f"[{AT + 9}.000000]\t[DESTROY] tcp      6 TIME_WAIT {COUNTED.format('delta-time=3 id=99')}\n"


PACKET = (
    "IN=a OUT=b SRC=10.0.0.5 DST=198.51.100.9 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=1 DF PROTO=TCP SPT={} DPT=443 "
    "WINDOW=1 RES=0x00 SYN URGP=0 \n"
)


MARK = f"[{namespace_hash(ROUTER)}]"


def line(port: int, at: int = T0, *, host: str = "gw1", mark: str = MARK, fine: bool = True) -> str:
    """A connection of 10.0.0.5 from this port."""
    stamp = datetime.fromtimestamp(at / 1e6, UTC)
    shown = stamp.isoformat(timespec="microseconds") if fine else f"{stamp:%b %d %H:%M:%S}"
    return f"{shown} {host} kernel: [ANETCON][X]{mark} {PACKET.format(port)}"


def address(packed: bytes) -> str:
    """An address of a record as text."""
    wide = IPv6Address(packed)
    return str(wide.ipv4_mapped or wide)
