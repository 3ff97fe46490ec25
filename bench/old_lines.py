"""Old text logs, generated: lines of LOG rules as rsyslog wrote them. One seed, one text; shared with the tests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from anetcon.system.printable import namespace_hash

HOST = "gw1"


class Line(NamedTuple):
    """A connection and its line's parts."""

    time: float
    netns: str
    float_: bool
    src: str
    sport: int
    dst: str
    dport: int
    proto: str


def namespaces(count: int, seed: int = 1) -> list[str]:
    """Names as Neutron gives them."""
    draw = random.Random(seed)
    return [f"qrouter-{draw.getrandbits(32):08x}-0000-4000-8000-{draw.getrandbits(48):012x}" for _ in range(count)]


def hash_file(names: list[str]) -> str:
    """The list that the old program kept."""
    return "".join(sorted(f"{name} [{namespace_hash(name)}]\n" for name in names))


def generate(count: int, first: float, seconds: float, names: list[str], seed: int = 1) -> Iterator[Line]:
    """So many connections, in the order of their time, evenly over so many seconds."""
    draw = random.Random(seed)
    for number in range(count):
        float_ = draw.random() < 0.2
        inside, outside = f"10.0.{draw.randrange(8)}.{draw.randrange(2, 250)}", f"198.51.100.{draw.randrange(256)}"
        src, dst = (outside, inside) if float_ else (inside, outside)
        proto = "UDP" if draw.random() < 0.2 else "TCP"
        dport = draw.choice((22, 53, 80, 443))
        time = first + seconds * number / count
        yield Line(time, draw.choice(names), float_, src, draw.randrange(1024, 65536), dst, dport, proto)


def texts(lines: Iterator[Line], *, rfc3339: bool = False, older: bool = False, ktime: bool = True) -> Iterator[str]:
    """Each as rsyslog writes it, in UTC."""
    hashes: dict[str, str] = {}
    for line in lines:
        mark = hashes.get(line.netns) or hashes.setdefault(line.netns, f"[{namespace_hash(line.netns)}]")
        kind = ("[FLOAT]" if line.float_ else "[NAT]") if older else ("[D]" if line.float_ else "[X]")
        prefix = f"[ANETCON]{' ' if older else ''}{kind}{mark}"
        at = datetime.fromtimestamp(line.time, UTC)
        stamp = at.isoformat(timespec="microseconds") if rfc3339 else f"{at:%b} {at.day:2} {at:%H:%M:%S}"
        clock = f"[{line.time % 1e6:12.6f}] " if ktime else ""
        packet = (
            "LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=26367 DF"
            if line.proto == "TCP"
            else ("LEN=47 TOS=0x00 PREC=0x00 TTL=63 ID=26368 DF")
        )
        rest = "WINDOW=64240 RES=0x00 SYN URGP=0 " if line.proto == "TCP" else "LEN=27 "
        yield (
            f"{stamp} {HOST} kernel: {clock}{prefix} IN=qr-a4e7c049-01 OUT=qg-a4e7c049-01 "
            f"MAC=fa:16:3e:01:00:01:fa:16:3e:01:00:10:08:00 SRC={line.src} DST={line.dst} {packet} PROTO={line.proto} "
            f"SPT={line.sport} DPT={line.dport} {rest}MARK=0x4000000 \n"
        )
