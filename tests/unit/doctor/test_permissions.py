"""Capabilities and open files of the running daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anetcon.doctor import permissions
from anetcon.doctor.finding import Severity
from tests.support.doctor_parts import KEEPER, ill, machine, one, root_with, without_daemon

NET_ADMIN, SYS_ADMIN, NET_RAW, SYSLOG = 1 << 12, 1 << 21, 1 << 13, 1 << 34


@pytest.mark.parametrize(
    ("engine", "held", "missing"),
    [
        ("conntrack", NET_ADMIN | SYS_ADMIN, None),
        ("conntrack", NET_ADMIN, "CAP_SYS_ADMIN"),
        ("iptables-log", NET_ADMIN | SYS_ADMIN | SYSLOG, "CAP_NET_RAW"),
        ("iptables-log", NET_ADMIN | SYS_ADMIN | SYSLOG | NET_RAW, None),
    ],
)
def test_what_the_engine_needs(monkeypatch: pytest.MonkeyPatch, engine: str, held: int, missing: str | None) -> None:
    """A LOG engine needs two capabilities more."""
    monkeypatch.setattr(permissions, "effective_capabilities", lambda _: held)
    found = ill(permissions.of_daemon(machine(audit__engine=engine)))
    assert [f"the daemon lacks {missing}"] * bool(missing) == [each.found for each in found]


def test_a_daemon_that_cannot_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is said; where there is none nothing is."""
    monkeypatch.setattr(permissions, "effective_capabilities", lambda _: None)
    assert not one(permissions.of_daemon(machine())).checked
    assert list(permissions.of_daemon(without_daemon())) == []


def test_ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root what cannot be looked at is said, with how to."""

    def none(*_: Any) -> int:
        return 0

    monkeypatch.setattr(permissions, "effective_capabilities", none)
    monkeypatch.setattr(permissions, "can_enter", lambda: False)
    found = one(permissions.ours(machine()))
    assert (found.checked, found.severity) == (False, Severity.NOTE)
    assert "CAP_NET_ADMIN and CAP_SYS_ADMIN" in found.found


def test_open_files(tmp_path: Path) -> None:
    """Ten a namespace, and those that the keeper keeps back: as many namespaces as it would attach."""
    root = root_with(tmp_path, {f"proc/{KEEPER}/limits": "Max open files            1024      4096      files\n"})
    assert ill(permissions.files(machine(root), 96)) == []
    assert len(ill(permissions.files(machine(root), 97))) == 1
    assert f"prlimit --pid {KEEPER} --nofile=20128" in one(permissions.files(machine(root), 1000)).remedy
