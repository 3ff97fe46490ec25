"""What is said of capabilities that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.errors import PermissionMissingError
from anetcon.keeper import capabilities


@pytest.mark.parametrize(
    ("engine", "held", "missing"),
    [
        ("conntrack", "0000000000000000", "needs CAP_NET_ADMIN and CAP_SYS_ADMIN:"),
        ("conntrack", "0000000000001000", "needs CAP_SYS_ADMIN:"),
        ("conntrack", "0000000000200000", "needs CAP_NET_ADMIN:"),
        ("nftables-log", "0000000000201000", "needs CAP_NET_RAW and CAP_SYSLOG: .* `anetcon install`"),
        ("iptables-log", "0000000400201000", "needs CAP_NET_RAW:"),
    ],
)
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, engine: str, held: str, missing: str) -> None:
    """Each capability, and where the service gets them from."""
    monkeypatch.setattr(Path, "read_text", lambda _: f"Name:\tx\nCapEff:\t{held}\n")
    with pytest.raises(PermissionMissingError, match=missing):
        capabilities.require(engine)


@pytest.mark.parametrize(("engine", "held"), [("conntrack", "0000000000201000"), ("iptables-log", "0000000400203000")])
def test_enough_is_enough(monkeypatch: pytest.MonkeyPatch, engine: str, held: str) -> None:
    """No more than what is needed is asked for."""
    monkeypatch.setattr(Path, "read_text", lambda _: f"CapEff:\t{held}\n")
    capabilities.require(engine)
