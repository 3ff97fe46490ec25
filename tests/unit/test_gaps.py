"""The table of causes is whole: what the source uses is in it, what is in it is said well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import anetcon
from anetcon.gaps import CAUSES, NOTES, UNTRANSLATED, WHOLE

SOURCE = Path(anetcon.__file__).parent


def texts(node: ast.expr | None) -> Iterator[str]:
    """The texts an expression may have as its value, as far as they are written there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)


def causes_used(tree: ast.AST) -> Iterator[str]:
    """Every cause written in a module: in a dictionary or argument named `cause`, or in a call of a `…gap`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "cause":
                    yield from texts(value)
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for argument in node.args if called.endswith("gap") else ():
                yield from texts(argument)
            for keyword in node.keywords:
                yield from texts(keyword.value if keyword.arg == "cause" else None)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id.lower().endswith("cause") for target in targets):
                yield from texts(node.value)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_cause_used_is_in_the_table(path: Path) -> None:
    """A module writes no cause that the table does not have."""
    assert set(causes_used(ast.parse(path.read_text()))) <= CAUSES.keys()


def test_the_search_for_causes_finds_them() -> None:
    """The search sees each way in which a cause is written."""
    source = """
x.gap(None, a, b, "one", 3)
_tell_gap("two")
row = {"node": 1, "cause": "three" if x else "four"}
cause = "five" if x else "six"
CAUSE = "seven"
send(cause="eight", why="not a cause")
"""
    assert set(causes_used(ast.parse(source))) == {"one", "two", "three", "four", "five", "six", "seven", "eight"}


def test_causes_are_sentences_for_operators() -> None:
    """Each cause has a name in small letters, a meaning and something to do."""
    for name, cause in CAUSES.items():
        assert name == cause.name == name.lower().replace("_", "-")
        assert cause.meaning
        assert cause.todo
        assert not cause.meaning.endswith(".")


def test_findings_are_told_from_gaps() -> None:
    """Only causes for which no connection is missing leave an answer complete."""
    assert "overrun" not in WHOLE
    assert {"suspended", "sink-behind"} <= WHOLE


def test_what_is_missing_for_a_cause_is_said_once() -> None:
    """A cause that leaves every connection is not also one that takes some away; what concerns some is told to all."""
    assert not WHOLE & UNTRANSLATED
    assert UNTRANSLATED <= NOTES
