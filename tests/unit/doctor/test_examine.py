"""Which namespaces are looked at, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.doctor import examine, kernel_features, permissions
from anetcon.doctor import machine as seen
from anetcon.doctor.finding import Severity
from anetcon.errors import AnetconError
from anetcon.link.settings import Settings
from tests.support.doctor_parts import look, machine, one


def settings(folder: Path, *patterns: str) -> Settings:
    """Settings with a folder of namespaces of our own."""
    return machine(audit__netns_dir=str(folder), audit__namespaces=list(patterns)).settings


def test_plain_files_are_told_apart(tmp_path: Path) -> None:
    """A selected name that is no namespace is remembered; the namespace we are in is always the first."""
    (tmp_path / "qrouter-1").write_text("")
    (tmp_path / "other").write_text("")
    found, plain = examine.namespaces(settings(tmp_path, "^qrouter-"), [])
    assert ([each.netns for each in found], plain) == (["default"], ["qrouter-1"])
    assert not found[0].audited
    found, _ = examine.namespaces(settings(tmp_path / "none", "default"), ["default"])
    assert found[0].audited


def test_a_namespace_that_is_not_there(tmp_path: Path) -> None:
    """One that is named and not there is an error that says where it was looked for."""
    with pytest.raises(AnetconError, match=f"no namespace qrouter-9 in {tmp_path}"):
        examine.namespaces(settings(tmp_path, "x"), ["qrouter-9"])


def test_nothing_is_selected() -> None:
    """Settings that select nothing audit nothing; that is a problem, with what there is to select."""
    found = one(examine.selection(machine(), 0))
    assert (found.severity, "ip netns list" in found.remedy) == (Severity.PROBLEM, True)
    assert [each.severity for each in examine.selection(machine(), 3)] == [Severity.OK]


def test_a_namespace_that_cannot_be_entered() -> None:
    """Nothing is said of it but that."""
    found = one(examine.of_namespace(look(failed={"namespace": "Invalid argument"}), machine()))
    assert (found.checked, found.netns) == (False, "qrouter-1")


def test_named_but_not_selected() -> None:
    """That is said of what was named only."""
    idle = [look(audited=False)]
    assert one(examine.unselected(idle, ["qrouter-1"], machine())).check == "selection"
    assert list(examine.unselected(idle, [], machine())) == []


def test_without_root_everything_that_was_not_looked_at_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is entered, and whatever is audited is listed as not checked."""
    for module in (kernel_features, seen, permissions):
        monkeypatch.setattr(module, "can_enter", lambda: False)
    resolved = dict(machine(audit__namespaces=["default"], store__path=str(tmp_path)).resolved)
    found = [each for each in examine.examine(resolved) if not each.checked]
    assert {"privileges", "kernel", "namespace"} <= {each.check for each in found}
    assert [each.netns for each in found if each.check == "namespace"] == ["default"]
