"""What the keeper uses of the settings. They come resolved and checked, as JSON in a memory file.

Refuses to check them again: `anetcon config check` does.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache

from anetcon.link.engine_kinds import CONNTRACK, KINDS
from anetcon.rules import wording
from anetcon.rules.wording import WantedRules
from anetcon.system.printable import file_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "default"
"""The entry of `namespaces` that means the namespace the daemon was started in; no pattern matches that one."""

TABLES = ("audit", "store", "logs")
"""The tables of the settings."""

_KEEPERS_OWN = (
    "namespaces",
    "netns_dir",
    "period",
    "on_overload",
    "guard_share",
    "activate_conntrack",
    "chain",
    "buffer_bytes",
    "buffers_total_bytes",
)
"""Keys of `audit` that matter to nobody else: the other processes go on when one of them changes."""


REMEMBERED = 8192
"""Names of which it is remembered whether they are selected: twice as many as can be audited."""


class Settings:
    """The resolved settings, those of the keeper by name."""

    def __init__(self, resolved: dict[str, Any]) -> None:
        audit = resolved["audit"]
        self.resolved = resolved
        self.node: str = resolved["node"]
        self.file: str | None = resolved.get("settings_file")
        self.store: str = resolved["store"]["path"]
        self.netns_dir: str = audit["netns_dir"]
        self.period: float = audit["period"]
        self.engine: str = audit.get("engine", CONNTRACK)
        self.kind = KINDS[self.engine]
        self.hold: bool = audit["on_overload"] == "hold" and self.kind.events
        self.guard_share: float = audit["guard_share"]
        self.activate_conntrack: bool = audit["activate_conntrack"]
        self.record_invalid: bool = audit.get("record_invalid", False) and self.kind.events
        self.buffer_bytes: int = audit["buffer_bytes"]
        self.buffers_total_bytes: int = audit["buffers_total_bytes"]
        self.starts: bool = "start" in audit["record"] and self.kind.events
        self.debug: bool = resolved.get("logs", {}).get("debug", False)
        self.log_file: str = resolved.get("logs", {}).get("file", "")
        self.with_default: bool = DEFAULT in audit["namespaces"]
        self._patterns = [re.compile(pattern) for pattern in audit["namespaces"] if pattern != DEFAULT]
        self.selects = lru_cache(REMEMBERED)(self._selects)
        """Whether a name in the folder of namespaces is audited: asked of every name at every listing."""

    def _selects(self, name: str) -> bool:
        """A file named `default` never is: the name is taken."""
        return name != DEFAULT and any(pattern.search(name) for pattern in self._patterns)

    def rules(self, netns: str) -> WantedRules | None:
        """The LOG rules a namespace is to have; None under an engine that needs none."""
        if not self.kind.rules:
            return None
        audit, logs = self.resolved["audit"], self.resolved["logs"]
        hashed = logs["namespace_hash"] and netns != DEFAULT
        dnat, other = (
            wording.prefix((logs["prefix"], logs[part]), netns, hashed) for part in ("prefix_dnat", "prefix_other")
        )
        networks = audit["networks"].get(file_name(netns))
        return WantedRules(
            self.engine,
            audit.get("chain", wording.TABLE),
            dnat,
            other,
            None if audit["protocols"] == "all" else tuple(audit["protocols"]),
            None if networks is None else tuple(networks),
        )

    def lines(self) -> Iterator[str]:
        """Every setting, with where it is from."""
        sources = self.resolved.get("sources", {})
        for name, value in self.resolved.items():
            if name != "sources":
                for key, each in value.items() if name in TABLES else [("", value)]:
                    whole = f"{name}.{key}".rstrip(".")
                    yield f"{whole} = {json.dumps(each)}" + (f" ({sources[whole]})" if whole in sources else "")

    def children_differ(self, other: Settings) -> bool:
        """Whether follow has to be replaced for these settings, and capture unless it does not differ."""
        return _of_children(self.resolved) != _of_children(other.resolved)

    def capture_differs(self, other: Settings) -> bool:
        """Whether capture has to be replaced: sinks are no matter of its own."""
        mine, others = ({**_of_children(each.resolved), "sinks": None} for each in (self, other))
        return mine != others


def _of_children(resolved: dict[str, Any]) -> dict[str, Any]:
    audit = {key: value for key, value in resolved["audit"].items() if key not in _KEEPERS_OWN}
    logs = resolved.get("logs", {})
    others = {key: value for key, value in resolved.items() if key != "sources"}
    return {**others, "audit": audit, "logs": {**logs, "file": bool(logs.get("file"))}}


def read(descriptor: int) -> dict[str, Any]:
    """The JSON object in a memory file, wherever its position is."""
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    parsed: dict[str, Any] = json.loads(content)
    return parsed


def write(resolved: dict[str, Any]) -> int:
    """A new memory file with a JSON object; closed on exec until `os.set_inheritable`."""
    descriptor = os.memfd_create("anetcon-settings")
    os.write(descriptor, json.dumps(resolved).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
