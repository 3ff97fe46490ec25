"""The capabilities that an engine needs, by number (linux/capability.h), and whether this process has them.

Refuses to try what they are for: what is missing is said before anything fails for it.
"""

from __future__ import annotations

from pathlib import Path

from anetcon.errors import PermissionMissingError
from anetcon.keeper.settings import CONNTRACK

ALWAYS = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
FOR_LOG = {"CAP_NET_RAW": 13, "CAP_SYSLOG": 34}
"""What the LOG engines need besides: for the rules, and for the kernel's lines."""


def needed(engine: str) -> dict[str, int]:
    """All that an engine needs."""
    return ALWAYS if engine == CONNTRACK else ALWAYS | FOR_LOG


def require(engine: str, process: str = "self") -> None:
    """Raise PermissionMissingError naming each capability that this process, or another, has not."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    held = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    missing = [name for name, bit in needed(engine).items() if not held >> bit & 1]
    if missing:
        raise PermissionMissingError(
            f"the engine {engine} needs {' and '.join(missing)}: run the daemon as root; its service gets them by "
            "`anetcon install`, which writes a drop-in for the engine that is configured"
        )
