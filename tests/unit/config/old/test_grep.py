"""Patterns of grep, as Python reads them."""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.config.old.grep import to_python

ATOMS = [
    *("a", "b", "q", "-", "^", "$", ".", "*", r"\(", r"\)", r"\|", r"\+", r"\?", "+", "?", "(", ")", "|", "{", "}"),
    *(
        "[ab]",
        "[^a-c]",
        "[]a]",
        "[[:digit:]]",
        "[a-]",
        "[a\\]",
        "1",
        r"\.",
        r"\{2\}",
        r"\{1,\}",
        r"\{,2\}",
        r"\w",
        r"\b",
    ),
    *(r"\<", r"\>", "_", "\\"),
]
NAMES = [
    *("", "a", "b", "ab", "aab", "a-b", "a+", "a?b", "(a)", "a|b", "q1", "qq-1", "{2}", "a.b", "^a", "a$", "*a", "]"),
    *("1", "-", "_", "b{2}", "qrouter-1", "\\", "aa bb"),
]


def grep(pattern: str) -> list[str] | None:
    """The names grep finds; None when it refuses the pattern."""
    found = subprocess.run(
        ["grep", "-e", pattern],
        input="".join(f"{name}\n" for name in NAMES),
        capture_output=True,
        text=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    return None if found.returncode > 1 else found.stdout.split("\n")[:-1]


@given(st.lists(st.sampled_from(ATOMS), min_size=1, max_size=6).map("".join))
def test_as_grep(pattern: str) -> None:
    """Where a pattern is taken, it finds exactly the names that grep finds."""
    try:
        ours = re.compile(to_python(pattern))
    except (ValueError, re.error):
        return
    assert [name for name in NAMES if ours.search(name)] == grep(pattern)


@pytest.mark.parametrize(
    ("pattern", "python"),
    [
        ("^qrouter-.*$", "^qrouter-.*$"),
        (r"^\(qrouter\|snat\)-", "^(qrouter|snat)-"),
        ("a+b?", r"a\+b\?"),
        ("(x)", r"\(x\)"),
        (r"^[[:xdigit:]]\{8\}", "^[0-9A-Fa-f]{8}"),
        ("*a^$b$", r"\*a\^\$b$"),
    ],
)
def test_in_python(pattern: str, python: str) -> None:
    """What a site may have written, in the syntax it gets."""
    assert to_python(pattern) == python


@pytest.mark.parametrize("pattern", ["a\\", "[a", r"a\{", "[[:x:]]", "a**", r"\{2\}"])
def test_refused(pattern: str) -> None:
    """A pattern that grep refuses or that means nothing is refused."""
    with pytest.raises(ValueError, match="it "):
        to_python(pattern)
