"""The engines, and what differs between them. Standard library only.

An engine is where connections are learnt from. A new one has its line in KINDS, and its class in `capture/engine/`:
configuration, keeper, capture, status and doctor look here for what they do otherwise under one engine than another.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """What makes records of it: a module of capture, and the class in it. What it needs, and so what it can do."""

    made_by: str
    events: bool = False
    """Conntrack's events: the keeper switches conntrack's sysctls on, and listens to starts and ends. Only where there
    are events can they be held back, are starts worth recording apart, and do rules that hide connections matter."""
    rules: bool = False
    """LOG rules in each namespace, which the keeper keeps standing."""
    kernel_log: bool = False
    """The kernel's log: the keeper opens it, and a child reads it."""


CONNTRACK = "conntrack"
"""The engine of whoever chooses none."""

KINDS: dict[str, Kind] = {
    CONNTRACK: Kind("anetcon.capture.engine.ct_events:Conntrack", events=True),
    "iptables-log": Kind("anetcon.capture.engine.log_lines:LogLines", rules=True, kernel_log=True),
    "nftables-log": Kind("anetcon.capture.engine.log_lines:LogLines", rules=True, kernel_log=True),
}
"""By the name that the configuration has for it."""
