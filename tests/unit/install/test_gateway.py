"""Whether a namespace translates, whoever wrote its rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.doctor.look import NamespaceLook
from anetcon.doctor.ruleset import Expression, NamespaceRules, Rule
from anetcon.install.gateway import is_plain, translates


def look(*expressions: Expression, legacy: str = "") -> NamespaceLook:
    """A namespace with one rule, or with one of iptables-legacy."""
    rule = Rule("ip", "nat", "POSTROUTING", 1, expressions, tracks=True)
    return NamespaceLook("default", None, rules=NamespaceRules(rules=(rule,)), legacy={"ip": legacy} if legacy else {})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (look(Expression("masq")), True),
        (look(Expression("meta"), Expression("nat")), True),
        (look(Expression("target", "MASQUERADE")), True),
        (look(Expression("target", "LOG"), Expression("ct")), False),
        (look(legacy="*nat\n-A POSTROUTING -o eth0 -j SNAT --to-source 203.0.113.1\n"), True),
        (look(legacy="*filter\n-A FORWARD -j SNATCH\n"), False),
        (look(), False),
    ],
)
def test_what_translates(found: NamespaceLook, expected: bool) -> None:
    """SNAT, DNAT and their kind do; a log rule, or one that looks at a connection's state, does not."""
    assert translates(found) is expected


def test_a_host_of_neutron_is_no_plain_gateway(tmp_path: Path) -> None:
    """Whatever else it does."""
    (tmp_path / "snat-1").touch()
    assert not is_plain(str(tmp_path))
