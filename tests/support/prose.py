"""The sentences of Markdown, each with its line: what the rules for prose are checked on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.) +")
_END = re.compile(r"[.!?][)\]\"'*_]*$")
_SHORT = re.compile(r"(?:^|[(\"'*])(?:e\.g|i\.e|vs|cf|no|[A-Z])\.$")
_QUOTED = "\"'(*[_"
_JOIN = "\N{NO-BREAK SPACE}"
"""Stands for a space within a code span, which is one word."""


class Sentence(NamedTuple):
    """A sentence, and the line on which it begins."""

    line: int
    text: str

    @property
    def words(self) -> int:
        """How many words it has: a code span, a path or a version is one, a dash alone is none."""
        joined = _SPAN.sub(lambda span: re.sub(r"\s", _JOIN, span[0]), self.text)
        return sum(1 for token in joined.split(" ") if any(letter.isalnum() for letter in token))


def _split(block: str, first: int) -> Iterator[Sentence]:
    """The sentences of one block: each ends with a full stop before a word that begins with no small letter."""
    tokens = [(first + block.count("\n", 0, found.start()), found[0]) for found in re.finditer(r"[^ \n]+", block)]
    begun = 0
    for at, (_, token) in enumerate(tokens, 1):
        rest = tokens[at][1].lstrip(_QUOTED)[:1] if at < len(tokens) else ""
        if at == len(tokens) or (_END.search(token) and not _SHORT.search(token) and not rest.islower()):
            yield Sentence(tokens[begun][0], " ".join(word for _, word in tokens[begun:at]).replace(_JOIN, " "))
            begun = at


def _blocks(markdown: str) -> Iterator[tuple[int, str]]:
    """Each paragraph, list item and table cell with its first line; no code block, comment or heading."""
    lines: list[str] = []
    first, fenced, after_blank = 0, False, True
    text = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), markdown)
    for number, line in enumerate([*text.split("\n"), ""], 1):
        fence = line.lstrip().startswith("```")
        cells = line.lstrip().startswith("|") and not fenced
        aside = fence or fenced or cells or line.startswith("#") or (line.startswith("    ") and after_blank)
        fenced ^= fence
        if lines and (aside or not line.strip() or _ITEM.match(line)):
            yield first, "\n".join(lines)
            lines = []
        if cells:
            yield from ((number, cell) for cell in re.split(r"(?<!\\)\|", line) if cell.strip(" -:"))
        elif line.strip() and not aside:
            first = first if lines else number
            lines.append(_ITEM.sub("", line).lstrip("> "))
        after_blank = not line.strip() or (aside and after_blank)


def sentences(markdown: str) -> Iterator[Sentence]:
    """Every sentence of a page; links are read as their text."""
    for first, block in _blocks(markdown):
        whole = _SPAN.sub(lambda span: span[0].replace(" ", _JOIN), block)
        yield from _split(_LINK.sub(r"\1", whole), first)
