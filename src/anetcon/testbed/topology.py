"""A world outside and routers before it, built as Neutron builds them.

    instances 10.N.0.11, .12, ...          router N                      world
    2001:db8:N::11, ::12, ...   ── qr-...  SNAT, floating IPs  qg-... ── 198.51.100.0/24, 2001:db8:beef::/64

The world answers for every address of its two networks. Each router hangs on it by a link of its own, has one public
address of 203.0.113.0/24 for SNAT and any number of floating ones. All instances of a router share one namespace with
many addresses, or (`separate`) have one each, with a MAC address of its own.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from anetcon.errors import AnetconError
from anetcon.testbed import neutron_rules
from anetcon.testbed.bed import Namespace, Testbed, command
from anetcon.testbed.neutron_rules import Forwarding, Ports

GATEWAY = "203.0.113.1"
SERVER = "198.51.100.10"
SERVER6 = "2001:db8:beef::10"
NOBODY = "02:00:00:00:00:09"
WORLD4 = "198.51.100.0/24"
WORLD6 = "2001:db8:beef::/64"

NODAD = " nodad"
"""With an IPv6 address: without it the kernel lets nobody bind to one before a worker of its own has come by."""

_HOST = {"ipv6__conf__default__accept_dad": 0, "ipv4__conf__all__rp_filter": 0, "ipv4__conf__default__rp_filter": 0}
_FORWARDS = {**_HOST, "ipv4__ip_forward": 1, "ipv6__conf__all__forwarding": 1}


@dataclass(frozen=True)
class Instance:
    """A virtual machine: where it lives and how it addresses itself."""

    namespace: Namespace
    address: str
    address6: str
    mac: str


class World:
    """Everything beyond the routers, in one namespace. Hands out public addresses, and numbers from `first` on: two
    worlds of one testbed need numbers of their own."""

    def __init__(self, bed: Testbed, first: int = 1) -> None:
        self.bed = bed
        self.namespace = bed.namespace(f"world{first}")
        self.namespace.sysctl(**_FORWARDS)
        _configure(
            self.namespace,
            [
                "link set lo up",
                *(f"addr add {address} dev lo" for address in (SERVER, SERVER6 + NODAD)),  # to be bound to
                *(f"route add local {network} dev lo" for network in (WORLD4, WORLD6)),
            ],
        )
        self._numbers = itertools.count(first)
        self._addresses = (f"203.0.113.{last}" for last in range(2, 255))

    def number(self) -> int:
        """The next router's number, 250 at most."""
        return next(self._numbers)

    def public_address(self) -> str:
        """A public address nobody has yet."""
        return next(self._addresses)


class Router:
    """One router with its instances and its link to the world, ready when made.

    `floating` names the instances (by index) that get a floating IP; `name` brings a router of an earlier name back,
    `snat` its public address. `plain` writes the one SNAT rule by nft and nothing else: for speed.
    """

    def __init__(
        self,
        world: World,
        instances: int = 2,
        floating: Sequence[int] = (),
        *,
        separate: bool = False,
        name: str | None = None,
        snat: str | None = None,
        plain: bool = False,
    ) -> None:
        self.world = world
        self.number = world.number()
        self.snat = snat or world.public_address()
        self._plain = plain
        self.namespace = world.bed.router_namespace(name)
        self.inside = world.bed.namespace(f"inside{self.number}")
        self.floating: dict[str, str] = {}
        self.forwardings: list[Forwarding] = []
        self._link()
        self.instances = self._separate(instances) if separate else self._together(instances)
        for index in floating:
            self._give(world.public_address(), self.instances[index].address)
        self.apply_rules()

    @property
    def name(self) -> str:
        """Name of the router's namespace."""
        return self.namespace.name

    @cached_property
    def ports(self) -> Ports:
        """Names of its two interfaces."""
        return Ports(f"qr-a4e7c049-{self.number:02x}", f"qg-a4e7c049-{self.number:02x}")

    @cached_property
    def link(self) -> str:
        """Name of its link in the world."""
        return f"to-{self.number}"

    def mac(self, last: int) -> str:
        """MAC addresses of this router's network: 1 the router inside, 2 outside, 3 its link in the world."""
        return f"fa:16:3e:{self.number:02x}:00:{last:02x}"

    def address(self, last: int) -> str:
        """An address of its inner network."""
        return f"10.{self.number}.0.{last}"

    def address6(self, last: int) -> str:
        """An IPv6 address of its inner network, with the same last digits."""
        return f"2001:db8:{self.number}::{last}"

    @property
    def floating_ips(self) -> dict[str, str]:
        """Floating addresses by inner address."""
        return {inner: public for public, inner in self.floating.items()}

    def apply_rules(self) -> None:
        """Write all rules again, as the agent does after every change."""
        if self._plain:
            self.namespace.run("nft", "-f", "-", text=neutron_rules.plain(self.ports, self.snat))
            return
        text = neutron_rules.ipv4(self.ports, self.snat, self.floating, self.forwardings)
        self.namespace.run("iptables-nft-restore", text=text)
        self.namespace.run("ip6tables-nft-restore", text=neutron_rules.ipv6(self.ports))

    def add_floating(self, inner: str, public: str | None = None) -> str:
        """Give an inner address a floating one; returns it."""
        public = public or self.world.public_address()
        self._give(public, inner)
        self.apply_rules()
        return public

    def remove_floating(self, public: str) -> None:
        """Take a floating address away and, as the agent does, delete its connections."""
        inner = self.floating.pop(public)
        self.apply_rules()
        _configure(self.namespace, [f"addr del {public}/32 dev {self.ports.outer}"])
        _configure(self.world.namespace, [f"route del {public}/32 dev {self.link}"])
        for match in (["--orig-dst", public], ["--orig-src", inner]):
            with contextlib.suppress(AnetconError):  # status 1: there was none
                self.namespace.run("conntrack", "-D", *match)

    def forward_port(self, forwarding: Forwarding) -> None:
        """Make a port of a public address lead inside."""
        if forwarding.public != self.snat and forwarding.public not in self.floating:
            self._publish(forwarding.public)
        self.forwardings.append(forwarding)
        self.apply_rules()

    def pin_port(self, inner: str, port: int, protocol: str = "tcp") -> None:
        """Have an inner address leave from this public port, so that tests can use one port twice."""
        match = f"-t nat -I POSTROUTING -s {inner} -o {self.ports.outer} -p {protocol}"
        self.namespace.run("iptables-nft", *match.split(), "-j", "SNAT", "--to-source", f"{self.snat}:{port}")

    def kernel_settings(self, values: Mapping[str, object]) -> None:
        """Set net.netfilter.nf_conntrack_... in the router."""
        self.namespace.sysctl(**{f"netfilter__nf_conntrack_{name}": value for name, value in values.items()})

    def nobody_inside(self, *networks: str) -> None:
        """Lead networks inside to a machine that does not exist: frames for them are sent, and no stack takes them."""
        neighbours = [self.address(9), self.address6(9), *self.floating.values()]
        via = {4: self.address(9), 6: self.address6(9)}
        _configure(
            self.namespace,
            [
                *(f"neigh replace {ip} lladdr {NOBODY} nud permanent dev {self.ports.inner}" for ip in neighbours),
                *(f"route replace {network} via {via[6 if ':' in network else 4]}" for network in networks),
            ],
        )

    def nobody_outside(self) -> None:
        """The same for everything outside."""
        gateways = [GATEWAY, f"2001:db8:ffff:{self.number}::1"]
        outer = self.ports.outer
        _configure(self.namespace, [f"neigh replace {ip} lladdr {NOBODY} nud permanent dev {outer}" for ip in gateways])

    def close(self) -> None:
        """Remove the router, its instances and its link, as when it is deleted; the testbed would do it later."""
        for namespace in {self.inside, self.namespace, *(instance.namespace for instance in self.instances)}:
            namespace.close()

    def _give(self, public: str, inner: str) -> None:
        self.floating[public] = inner
        self._publish(public)

    def _publish(self, public: str) -> None:
        _configure(self.namespace, [f"addr add {public}/32 dev {self.ports.outer}"])
        _configure(self.world.namespace, [f"route add {public}/32 dev {self.link}"])

    def _link(self) -> None:
        """Both links, with their addresses and routes; the world's end last, so that nothing arrives too early."""
        number, (inner, outer), world = self.number, self.ports, self.world.namespace
        self.namespace.sysctl(**_FORWARDS)
        self.inside.sysctl(**_HOST)
        pair = "link add {} netns {} address {} type veth peer name {} netns {} address {}"
        _configure(
            None,
            [
                pair.format(inner, self.name, self.mac(1), "eth0", self.inside.name, self.mac(16)),
                pair.format(outer, self.name, self.mac(2), self.link, world.name, self.mac(3)),
            ],
        )
        _configure(
            self.namespace,
            [
                *(f"link set {name} up" for name in ("lo", inner, outer)),
                f"addr add {self.address(1)}/16 dev {inner}",
                f"addr add {self.address6(1)}/64{NODAD} dev {inner}",
                f"addr add {self.snat}/32 dev {outer}",
                f"addr add 2001:db8:ffff:{number}::2/64{NODAD} dev {outer}",
                f"route add default via {GATEWAY} dev {outer} onlink",
                f"route add default via 2001:db8:ffff:{number}::1",
            ],
        )
        _configure(
            world,
            [
                f"addr add {GATEWAY}/32 dev {self.link}",
                f"addr add 2001:db8:ffff:{number}::1/64{NODAD} dev {self.link}",
                f"link set {self.link} up",
                f"route add {self.snat}/32 dev {self.link}",
                f"route add 2001:db8:{number}::/64 via 2001:db8:ffff:{number}::2",
            ],
        )

    def _together(self, count: int) -> list[Instance]:
        instances = [Instance(self.inside, self.address(n), self.address6(n), self.mac(16)) for n in _lasts(count)]
        _configure(self.inside, self._addresses("eth0", instances))
        return instances

    def _separate(self, count: int) -> list[Instance]:
        """A macvlan each: no bridge, whose ports take a second to come up."""
        bed, numbers = self.world.bed, _lasts(count)
        _configure(self.inside, ["link set eth0 up"])
        instances = [
            Instance(bed.namespace(f"vm{self.number}-{n}"), self.address(n), self.address6(n), self.mac(16 + n))
            for n in numbers
        ]
        for vm in instances:
            vm.namespace.sysctl(**_HOST)
        added = "link add link eth0 name eth0 netns {} address {} type macvlan mode bridge"
        _configure(self.inside, [added.format(vm.namespace.name, vm.mac) for vm in instances])
        for vm in instances:
            _configure(vm.namespace, self._addresses("eth0", [vm]))
        return instances

    def _addresses(self, interface: str, instances: Sequence[Instance]) -> list[str]:
        return [
            "link set lo up",
            f"link set {interface} up",
            *(f"addr add {instance.address}/16 dev {interface}" for instance in instances),
            *(f"addr add {instance.address6}/64{NODAD} dev {interface}" for instance in instances),
            f"route add default via {self.address(1)}",
            f"route add default via {self.address6(1)}",
        ]


def _lasts(count: int) -> range:
    """Last digits of the instances' addresses."""
    return range(11, 11 + count)


def _configure(namespace: Namespace | None, lines: Sequence[str]) -> None:
    """Give `ip` many commands at once; without a namespace only links between two namespaces may be made."""
    text = "\n".join(lines) + "\n"
    if namespace is None:
        command(["ip", "-batch", "-"], text)
    else:
        namespace.run("ip", "-batch", "-", text=text)
