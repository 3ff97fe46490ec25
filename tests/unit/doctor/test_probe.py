"""The program that tries the kernel's features: what it tries for which engine."""

from __future__ import annotations

import pytest

from anetcon.doctor import probe
from anetcon.doctor.probe import FeatureMissingError, features
from anetcon.rules import programs


def test_each_engine_has_its_own() -> None:
    """LOG engines need no ctnetlink, the engine conntrack no program but where it activates."""
    assert "events" in features("conntrack", activates=False)
    assert "nft" not in features("conntrack", activates=False)
    assert "nft" in features("conntrack", activates=True)
    assert "nft sample" not in features("conntrack", activates=False)
    assert "nft sample" in features("conntrack", activates=False, samples=True)
    assert "ctnetlink" not in features("iptables-log", activates=False)
    assert "nft sample" not in features("iptables-log", activates=False, samples=True)
    assert "nft log rules" in features("nftables-log", activates=False)


def test_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named."""
    monkeypatch.setattr(programs, "find", lambda _: None)
    with pytest.raises(FeatureMissingError, match="the program nft is not there"):
        features("nftables-log", activates=False)["nft log rules"]()


def test_a_program_that_fails() -> None:
    """What it said is kept."""
    with pytest.raises(FeatureMissingError, match=r"ls: .*nothing-here"):
        probe._run(["ls", "/nothing-here"])
