"""What the probe's answer means."""

from __future__ import annotations

import pytest

from anetcon.doctor import kernel_features
from anetcon.doctor.finding import Severity
from anetcon.doctor.kernel_features import findings
from anetcon.doctor.probe import features
from tests.support.doctor_parts import machine, one


@pytest.mark.parametrize("engine", ["conntrack", "iptables-log", "nftables-log"])
def test_every_feature_that_may_be_missing_has_its_meaning(engine: str) -> None:
    """Whatever the probe tries is known here, with a remedy."""
    for feature in features(engine, activates=True):
        found = one(findings({feature: "no", "setns": ""} if feature != "setns" else {feature: "no"}, "6.1"))
        assert feature in found.found
        optional = feature in kernel_features.OPTIONAL
        assert found.severity is (Severity.NOTE if optional else Severity.PROBLEM)


def test_all_well() -> None:
    """One line, with the version and what was tried."""
    (found,) = findings({"setns": "", "ctnetlink": ""}, "6.18.44")
    assert (found.severity, found.found) == (Severity.OK, "Linux 6.18.44: setns, ctnetlink work, each was tried")


def test_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to make a namespace nothing was tried, which is said."""
    assert not one(findings({"unshare": "Operation not permitted"}, "6.1")).checked
    monkeypatch.setattr(kernel_features, "can_enter", lambda: False)
    assert not one(kernel_features.probe(machine())).checked
