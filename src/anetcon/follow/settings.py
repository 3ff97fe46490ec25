"""What the followers use of the settings. They come resolved and checked; refuses to check them again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anetcon.store.limits import Limits

HASH_FILE = "namespace.hash"


@dataclass(frozen=True)
class Settings:
    """The store, and where and how text logs are written; `hash_file` None: no such list."""

    store: Path
    node: str
    logs: bool = True
    rsyslog: bool = False
    """Whether the text logs are wanted, and rsyslog writes them."""
    folder: Path = Path("/var/log/anetcon")
    prefix: str = "[ANETCON]"
    prefix_dnat: str = "[D]"
    prefix_other: str = "[X]"
    namespace_hash: bool = True
    hash_file: Path | None = None
    limits: Limits = field(default_factory=Limits)
    compact: bool = True
    sinks: dict[str, dict[str, str]] = field(default_factory=dict)
    """By name: what is configured of each."""

    @classmethod
    def of(cls, resolved: dict[str, Any]) -> Settings:
        """Out of the whole resolved configuration."""
        store, logs = Path(resolved["store"]["path"]), resolved["logs"]
        rsyslog = logs.get("writer") == "rsyslog"
        listed = logs["namespace_hash_file"]
        hash_file = store / HASH_FILE if listed is None else Path(listed) if listed else None
        return cls(
            store=store,
            node=resolved["node"],
            logs=logs["enabled"] and not rsyslog,
            rsyslog=logs["enabled"] and rsyslog,
            folder=Path(logs["dir"]),
            prefix=logs["prefix"],
            prefix_dnat=logs["prefix_dnat"],
            prefix_other=logs["prefix_other"],
            namespace_hash=logs["namespace_hash"],
            hash_file=hash_file if logs["namespace_hash"] else None,
            limits=Limits.of(resolved["store"]),
            compact=resolved["store"]["compact"],
            sinks=resolved["sinks"],
        )
