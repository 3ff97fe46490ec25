"""Names of the IP protocols, one table for configuration, filters and output. Standard library only.

A protocol without a name here is written as its number: conntrack tracks those too, by addresses alone.
"""

from __future__ import annotations

NAMES: dict[int, str] = {
    1: "icmp",
    2: "igmp",
    4: "ipip",
    6: "tcp",
    17: "udp",
    33: "dccp",
    41: "ipv6",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmpv6",
    89: "ospf",
    103: "pim",
    112: "vrrp",
    132: "sctp",
    136: "udplite",
}
NUMBERS: dict[str, int] = {name: number for number, name in NAMES.items()}

LARGEST = 255


def name(number: int) -> str:
    """How a protocol is written in records: `tcp`, or its number as text."""
    return NAMES.get(number, str(number))


def number(text: str) -> int:
    """The protocol that a name or number stands for. Raises ValueError when there is none."""
    if text.isascii() and text.isdigit() and int(text) <= LARGEST:
        return int(text)
    try:
        return NUMBERS[text.lower()]
    except KeyError:
        raise ValueError(f"no protocol is called {text!r}; use a number or one of {', '.join(NUMBERS)}") from None
