"""What capture takes from the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.capture.settings import Settings, network
from anetcon.decode.logline import Prefix
from anetcon.record import Family
from tests.support.capture_parts import RESOLVED


@pytest.mark.parametrize(("said", "numbers"), [("all", set()), ("tcp", {6}), (["udp", 47], {17, 47})])
def test_protocols(said: object, numbers: set[int]) -> None:
    """All, one or several, by name or number."""
    resolved = {**RESOLVED, "audit": {**RESOLVED["audit"], "protocols": said}}  # type: ignore[dict-item]
    assert Settings.of(resolved).protocols == numbers


def test_networks_are_16_bytes_wide() -> None:
    """IPv4 networks lie in ::ffff:0:0/96; host bits are passed over."""
    assert network("10.1.2.3/8") == (b"\0" * 10 + b"\xff\xff\x0a\0\0\0", b"\xff" * 13 + b"\0" * 3, Family.IPV4)
    assert network("2001:db8::/32")[1:] == (b"\xff" * 4 + b"\0" * 12, Family.IPV6)


def test_a_log_engine_says_how_lines_begin() -> None:
    """Capture knows the prefix of its lines."""
    logs = {"prefix": "[A]", "prefix_dnat": "[D]", "prefix_other": "[X]", "namespace_hash": True}
    audit = {**RESOLVED["audit"], "engine": "nftables-log"}  # type: ignore[dict-item]
    assert Settings.of({**RESOLVED, "audit": audit, "logs": logs}).lines == Prefix("[A]", "[D]", "[X]", hashed=True)


def test_where_a_namespace_is() -> None:
    """By its name in the configured folder; the daemon's own is what the process is in."""
    settings = Settings.of(RESOLVED)
    assert settings.where("qrouter-a") == Path("/run/netns/qrouter-a")
    assert settings.where("default").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino
