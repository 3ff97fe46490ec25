"""The rules of a Neutron router, as its L3 agent writes them (iptables-save of a real one was the model).

SNAT is `--random-fully`; a floating address is DNAT inwards and SNAT outwards; a connection that comes from inside to
a floating address is translated at both ends (hairpin); metadata requests are redirected to the router itself; IPv6
is forwarded as it is, but marked, so that conntrack follows it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

METADATA = "169.254.169.254"
METADATA_PORT = 9697
AGENT = "neutron-l3-agent"


class Forwarding(NamedTuple):
    """A port of a public address that leads to a port of an instance."""

    public: str
    public_port: int
    inner: str
    inner_port: int
    protocol: str = "tcp"


class Ports(NamedTuple):
    """Names of the router's interfaces: towards the instances (qr-...) and towards the world (qg-...)."""

    inner: str
    outer: str


def ipv4(ports: Ports, snat: str, floating: Mapping[str, str], forwardings: Sequence[Forwarding] = ()) -> str:
    """Input for iptables-restore; `snat` is an address or a range, `floating` maps public to inner addresses."""
    return "\n".join(
        [
            *_mangle(ports, ["mark", "scope"], ["floatingip", "float-snat"]),
            f"-A {AGENT}-PREROUTING -d {METADATA}/32 -i qr-+ -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x1/0xffff",
            f"-A {AGENT}-mark -i {ports.outer} -j MARK --set-xmark 0x2/0xffff",
            "COMMIT",
            *_filter(ports),
            *_nat(ports, snat, floating, forwardings),
            "",
        ]
    )


def ipv6(ports: Ports) -> str:
    """Input for ip6tables-restore: nothing is translated."""
    return "\n".join([*_mangle(ports, ["scope"], []), "COMMIT", *_filter(ports), ""])


def plain(ports: Ports, snat: str) -> str:
    """Input for nft: SNAT and nothing else, as on a NAT gateway."""
    rule = f"oifname {ports.outer} snat to {snat} fully-random"
    return f"table ip nat {{\n chain postrouting {{\n type nat hook postrouting priority 100\n {rule}\n }}\n}}\n"


def _chains(table: str, hooks: Sequence[str], own: Sequence[str]) -> list[str]:
    """A table with its built-in chains, each jumping to the agent's chain of its name first."""
    return [
        f"*{table}",
        *(f":{hook} ACCEPT [0:0]" for hook in hooks),
        *(f":{AGENT}-{name} - [0:0]" for name in (*hooks, *own)),
        *(f"-A {hook} -j {AGENT}-{hook}" for hook in hooks),
    ]


def _mangle(ports: Ports, first: Sequence[str], last: Sequence[str]) -> list[str]:
    save = "-j CONNMARK --save-mark --nfmask 0xffff0000 --ctmask 0xffff0000"
    restore = "-j CONNMARK --restore-mark --nfmask 0xffff0000 --ctmask 0xffff0000"
    unmarked = "-m connmark --mark 0x0/0xffff0000"
    marked = "-m connmark ! --mark 0x0/0xffff0000"
    lines = _chains("mangle", ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"], [*first, *last])
    lines += [f"-A {AGENT}-PREROUTING -j {AGENT}-{name}" for name in first]
    lines += [f"-A {AGENT}-PREROUTING {marked} {restore}"]
    lines += [f"-A {AGENT}-scope -i {port} -j MARK --set-xmark 0x4000000/0xffff0000" for port in ports]
    if last:
        lines += [f"-A {AGENT}-PREROUTING -j {AGENT}-floatingip"]
        lines += [f"-A {AGENT}-float-snat {unmarked} {save}"]
        lines += [f"-A {AGENT}-POSTROUTING -o {ports.outer} {unmarked} {save}"]
    return lines


def _filter(ports: Ports) -> list[str]:
    scope = f"-A {AGENT}-scope -o {ports.inner} -m mark ! --mark 0x4000000/0xffff0000 -j DROP"
    return [
        *_chains("filter", ["INPUT", "FORWARD", "OUTPUT"], ["scope"]),
        f"-A {AGENT}-FORWARD -j {AGENT}-scope",
        f"-A {AGENT}-INPUT -m mark --mark 0x1/0xffff -j ACCEPT",
        f"-A {AGENT}-INPUT -p tcp -m tcp --dport {METADATA_PORT} -j DROP",
        scope,
        "COMMIT",
    ]


def _nat(ports: Ports, snat: str, floating: Mapping[str, str], forwardings: Sequence[Forwarding]) -> list[str]:
    source = f"-j SNAT --to-source {snat} --random-fully"
    lines = _chains("nat", ["PREROUTING", "OUTPUT", "POSTROUTING"], ["float-snat", "snat"])
    lines += [":neutron-postrouting-bottom - [0:0]", "-A POSTROUTING -j neutron-postrouting-bottom"]
    lines += [f"-A {AGENT}-POSTROUTING ! -o {ports.outer} -m conntrack ! --ctstate DNAT -j ACCEPT"]
    lines += [f"-A {AGENT}-PREROUTING -d {METADATA}/32 -i qr-+ -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 9697"]
    for public, inner in floating.items():
        lines += [f"-A {AGENT}-{hook} -d {public}/32 -j DNAT --to-destination {inner}" for hook in _INWARDS]
        lines += [f"-A {AGENT}-float-snat -s {inner}/32 -j SNAT --to-source {public} --random-fully"]
    for rule in forwardings:
        to = f"-j DNAT --to-destination {rule.inner}:{rule.inner_port}"
        match = f"-d {rule.public}/32 -p {rule.protocol} -m {rule.protocol} --dport {rule.public_port}"
        lines += [f"-A {AGENT}-{hook} {match} {to}" for hook in _INWARDS]
    return [
        *lines,
        f"-A {AGENT}-snat -j {AGENT}-float-snat",
        f"-A {AGENT}-snat -o {ports.outer} {source}",
        f"-A {AGENT}-snat -m mark ! --mark 0x2/0xffff -m conntrack --ctstate DNAT {source}",
        f"-A neutron-postrouting-bottom -j {AGENT}-snat",
        "COMMIT",
    ]


_INWARDS = ("PREROUTING", "OUTPUT")
