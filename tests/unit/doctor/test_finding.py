"""Findings: their order, and commands that are ready to run."""

from __future__ import annotations

from pathlib import Path

from anetcon.doctor.finding import Severity, inside, unchecked


def test_severities_have_an_order() -> None:
    """From the best to the worst."""
    assert sorted(Severity, key=lambda each: each.rank) == ["ok", "note", "warning", "problem"]


def test_commands_enter_the_namespace() -> None:
    """A command is prefixed with what enters the namespace, its path quoted; at home it stands as it is."""
    assert inside(Path("/run/netns/a b"), "nft list ruleset") == "nsenter --net='/run/netns/a b' nft list ruleset"
    assert inside(None, "nft list ruleset") == "nft list ruleset"


def test_what_was_not_looked_at_is_a_note() -> None:
    """It is no fault, but neither is it well."""
    found = unchecked("rules", "no permission", "be root", "qrouter-1")
    assert (found.severity, found.checked, found.netns) == (Severity.NOTE, False, "qrouter-1")
