"""Patterns as GNU grep reads them (POSIX basic regular expressions and its additions) in Python's syntax.

Told apart from Python's: `( ) { } | + ?` stand for themselves and mean something only behind a backslash; `*` at the
beginning, `^` and `$` in the middle stand for themselves; in brackets a backslash does, and there are classes.
Refuses to say whether the result is right: `re.compile` does.
"""

from __future__ import annotations

import re
import string

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": re.escape(string.punctuation),
    "space": r" \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_SWAPPED = {"(": "(", ")": ")", "|": "|", "+": "+", "?": "?"}
_EDGES = {"<": r"\b(?=\w)", ">": r"\b(?<=\w)", "`": r"\A", "'": r"\Z", "b": r"\b", "B": r"\B"}
_REPEATED = (r"\+", r"\?", r"\{")


def to_python(pattern: str) -> str:
    """The same pattern for `re`. Raises ValueError for one that grep would not take either."""
    made: list[str] = []
    at, fresh, repeated = 0, True, False
    """`fresh`: at the beginning of a branch, where there is nothing that could be repeated."""
    while at < len(pattern):
        here, pair = pattern[at], pattern[at : at + 2]
        repeating = not fresh and (here == "*" or pair in _REPEATED)
        if repeating and repeated:  # which means something else in Python
            raise ValueError("it repeats a repetition, or a place between characters")
        repeated = repeating or (here == "\\" and pair[1:] in _EDGES)
        if here == "[":
            text, at = _bracket(pattern, at + 1)
            made.append(text)
            fresh = False
        elif here == "\\":
            text, at = _escaped(pattern, at, fresh)
            made.append(text)
            fresh = pair in (r"\(", r"\|")
        elif here == "^" and fresh and made[-1:] != ["^"]:
            made.append("^")
            at += 1
        else:
            made.append(_plain(pattern, at, fresh))
            at += 1
            fresh = False
    return "".join(made)


def _literal(character: str) -> str:
    """As `re.escape`, without the backslashes that nothing needs."""
    return "\\" + character if character in r"\.^$*+?{}[]|()" else character


def _plain(pattern: str, at: int, fresh: bool) -> str:
    """A character that no backslash is before."""
    here, behind = pattern[at], pattern[at + 1 : at + 3]
    if here == "$" and (not behind or behind in (r"\)", r"\|")):
        return "$"
    if here == "*":
        return r"\*" if fresh else "*"
    return "." if here == "." else _literal(here)


def _escaped(pattern: str, at: int, fresh: bool) -> tuple[str, int]:
    """What a backslash and the character behind it mean, and where to go on."""
    pair = pattern[at : at + 2]
    if len(pair) == 1:
        raise ValueError("it ends in a backslash")
    if pair == r"\{":
        end = pattern.find(r"\}", at)
        found = re.fullmatch(r"(\d*)(,?)(\d*)", pattern[at + 2 : end]) if end >= 0 else None
        if found is None or not (found[1] or found[2]):
            raise ValueError(r"it has \{ without a count and \}")
        if fresh:
            raise ValueError(r"it has \{…\} behind nothing")
        return f"{{{found[1] or 0}{found[2]}{found[3]}}}", end + 2
    if pair[1] in "+?" and fresh:
        return _literal(pair[1]), at + 2
    if pair[1] in _SWAPPED:
        return _SWAPPED[pair[1]], at + 2
    if pair[1] in _EDGES or pair[1] in "wWsS123456789":
        return _EDGES.get(pair[1], pair), at + 2
    return _literal(pair[1]), at + 2


def _bracket(pattern: str, at: int) -> tuple[str, int]:
    """A bracket expression from behind its `[`, and where to go on."""
    made = ["["]
    if re.compile(":[^]]*:]").match(pattern, at):
        raise ValueError("it has a class of characters with single brackets: write [[:…:]]")
    if pattern[at : at + 1] == "^":
        made.append("^")
        at += 1
    first = True
    while at < len(pattern):
        here = pattern[at]
        if here == "]" and not first:
            return "".join([*made, "]"]), at + 1
        if here == "[" and pattern[at + 1 : at + 2] in (":", ".", "="):
            found = re.compile(r"\[:([a-z]+):\]").match(pattern, at)
            if not found or found[1] not in _CLASSES:
                raise ValueError(f"it has {pattern[at : at + 12]!r}, which is no class of characters")
            made.append(_CLASSES[found[1]])
            at = found.end()
        else:
            range_ = here == "-" and not first and pattern[at + 1 : at + 2] not in ("]", "")
            made.append("-" if range_ else re.escape(here) if here not in "[" else r"\[")
            at += 1
        first = False
    raise ValueError("it has [ without ]")
