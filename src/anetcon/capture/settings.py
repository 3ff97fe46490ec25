"""What capture uses of the settings. They come resolved and checked, as JSON from the keeper."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anetcon import protocols
from anetcon.capture import writer as journals
from anetcon.capture.addresses import mapped
from anetcon.capture.kernel_lines import prefix_of
from anetcon.decode.logline import Prefix
from anetcon.link.engine_kinds import CONNTRACK
from anetcon.link.settings import DEFAULT
from anetcon.record import Family, label
from anetcon.system import printable

OWN = Path("/proc/self/ns/net")

Network = tuple[bytes, bytes, Family]
"""Address and mask, 16 bytes each."""


@dataclass(frozen=True)
class Settings:
    """`protocols` empty means all; `networks` by name of a namespace."""

    journals: journals.Settings
    protocols: set[int]
    networks: dict[str, list[Network]]
    hold: bool
    period: float
    netns_dir: Path
    lines: Prefix
    """What the lines of our rules begin with, under an engine that reads the kernel's log."""
    public: tuple[dict[str, Any], ...] = ()
    """Networks of which the configuration says that their addresses are here, as the table `routes` has them."""
    samples: bool = False
    """Whether packets that conntrack calls invalid are to be recorded."""
    engine: str = CONNTRACK
    home: Path = OWN
    """The network namespace that the daemon was started in: capture is in one of its own."""

    def where(self, netns: str) -> Path:
        """The file of a namespace."""
        return self.home if netns == DEFAULT else self.netns_dir / printable.file_name(netns)

    @classmethod
    def of(cls, resolved: dict[str, Any], home: Path = OWN) -> Settings:
        """Take what is needed from the resolved configuration."""
        audit, store = resolved["audit"], resolved["store"]
        engine, asked = audit.get("engine", CONNTRACK), audit["protocols"]
        named = [] if asked == "all" else [asked] if isinstance(asked, str) else asked
        return cls(
            journals.Settings(
                Path(store["path"]),
                resolved["node"],
                store["flush_seconds"],
                store["sync_seconds"],
                store["seal_minutes"],
                round(store["memory_megabytes"] * 1e6),
                "start" in audit["record"],
                Path(store["path"]) / "lock",
            ),
            {protocols.number(str(name)) for name in named},
            {name: [network(text) for text in texts] for name, texts in audit["networks"].items()},
            audit["on_overload"] == "hold",
            audit["period"],
            Path(audit["netns_dir"]),
            prefix_of(resolved["logs"]),
            tuple(_as_route(text) for text in audit.get("public", ())),
            audit.get("record_invalid", False),
            engine,
            home,
        )


def _as_route(text: str) -> dict[str, Any]:
    address, _, family = network(text)
    length = ipaddress.ip_network(text, strict=False).prefixlen
    return {"family": label(family), "network": address, "prefix_length": length}


def network(text: str) -> Network:
    """A network in CIDR notation; host bits are passed over. Raises ValueError."""
    parsed = ipaddress.ip_network(text, strict=False)
    mask = parsed.netmask.packed
    wide = mask if len(mask) == 16 else b"\xff" * 12 + mask
    family = Family.IPV4 if parsed.version == 4 else Family.IPV6
    return mapped(parsed.network_address.packed) or b"", wide, family
