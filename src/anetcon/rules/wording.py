"""What our LOG rules are, as text: for iptables as `iptables -S` prints them, for nft as a table of its own.

Both write the same lines for the same connections: new ones, with the prefix of class float where the destination was
translated, else with that of class nat and, where the configuration names networks, only from those.

Refuses to read settings or to run anything: who wants rules says which.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import NamedTuple

from anetcon.system.printable import namespace_hash

IPTABLES, NFTABLES = "iptables-log", "nftables-log"
ENGINES = (IPTABLES, NFTABLES)
"""The engines that need rules, as the configuration names them."""

TABLE = "anetcon"
"""Our nftables table, of family inet."""

FAMILIES = (4, 6)
_ICMP, _ICMP6 = 1, 58
_NAMED = {1: "icmp", 6: "tcp", 17: "udp", 50: "esp", 51: "ah", 58: "ipv6-icmp", 132: "sctp", 136: "udplite"}
"""Protocols that iptables prints by name on every machine; others depend on /etc/protocols."""
_WITH_MATCH = {6, 17}


class WantedRules(NamedTuple):
    """The rules one namespace is to have. `protocols` None: all of them; `networks` None: from anywhere."""

    engine: str
    chain: str
    dnat: str
    other: str
    protocols: tuple[int, ...] | None = None
    networks: tuple[str, ...] | None = None


def prefix(parts: tuple[str, str], netns: str, hashed: bool) -> str:
    """What a namespace's lines begin with: the parts, the md5 of its name in 8 digits where asked for, a blank."""
    return "".join(parts) + (f"[{namespace_hash(netns)}] " if hashed else " ")


def canonical(network: str) -> tuple[int, str]:
    """Family and network as the kernel's programs print it; the text is empty when it is all addresses."""
    import ipaddress  # in the keeper's children alone

    parsed = ipaddress.ip_network(network, strict=False)
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    address = socket.inet_ntop(family, parsed.network_address.packed)
    return parsed.version, f"{address}/{parsed.prefixlen}" if parsed.prefixlen else ""


def iptables(wanted: WantedRules, family: int) -> list[str]:
    """The rules of our chain in iptables (4) or ip6tables (6), each as it follows `-A CHAIN `."""
    lines = []
    for protocol in _protocols(wanted, family):
        match = _protocol_match(protocol) + "-m state --state NEW -m conntrack "
        lines.append(f"{match}--ctstate DNAT -j LOG --log-prefix {quoted(wanted.dnat)}")
        lines += [
            f"{f'-s {source} ' if source else ''}{match}! --ctstate DNAT -j LOG --log-prefix {quoted(wanted.other)}"
            for source in _sources(wanted, family)
        ]
    return lines


def nftables(wanted: WantedRules) -> str:
    """Our whole table, as `nft -n list table` prints it too."""
    rules = []
    for protocol in _protocols(wanted, None):
        match = "" if protocol is None else f"meta l4proto {protocol} "
        new = "ct state 0x8 ct status"
        rules.append(f'{match}{new} 0x20 log prefix "{wanted.dnat}"')
        sources = [""] if wanted.networks is None else [_nft_source(each) for each in _networks(wanted.networks)]
        rules += [f'{source}{match}{new} ! 0x20 log prefix "{wanted.other}"' for source in dict.fromkeys(sources)]
    body = "".join(f"\t\t{rule}\n" for rule in rules)
    head = "type nat hook postrouting priority 99; policy accept;"
    return f"table inet {TABLE} {{\n\tchain postrouting {{\n\t\t{head}\n{body}\t}}\n}}\n"


def quoted(value: str) -> str:
    """A value as iptables-save prints it."""
    if value and all(c.isascii() and (c.isalnum() or c in "_-") for c in value):
        return value
    return '"' + "".join(f"\\{c}" if c in "\"\\'" else c for c in value) + '"'


def _protocols(wanted: WantedRules, family: int | None) -> Iterable[int | None]:
    if wanted.protocols is None:
        return [None]
    foreign = {4: _ICMP6, 6: _ICMP}.get(family or 0)
    return [protocol for protocol in wanted.protocols if protocol != foreign]


def _protocol_match(protocol: int | None) -> str:
    if protocol is None:
        return ""
    name = _NAMED.get(protocol, str(protocol))
    return f"-p {name} " + (f"-m {name} " if protocol in _WITH_MATCH else "")


def _networks(networks: Iterable[str]) -> list[tuple[int, str]]:
    return list(dict.fromkeys(canonical(network) for network in networks))


def _sources(wanted: WantedRules, family: int) -> list[str]:
    """What the source may be, a rule each; once, without a condition, where it may be anything."""
    if wanted.networks is None:
        return [""]
    sources = [text for version, text in _networks(wanted.networks) if version == family]
    return [""] if "" in sources else sources


def _nft_source(network: tuple[int, str]) -> str:
    version, text = network
    if not text:
        return f"meta nfproto {'ipv4' if version == 4 else 'ipv6'} "
    address, _, length = text.partition("/")
    whole = length == ("32" if version == 4 else "128")
    return f"{'ip' if version == 4 else 'ip6'} saddr {address if whole else text} "
