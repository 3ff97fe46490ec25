"""The rules for prose that a machine can check: no sentence of a page or a help text is long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.prose import sentences
from tools.described import Command, described

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NEWS = sorted((ROOT / "news").glob("*.md"))

LONGEST = 25
"""Words in a sentence."""


def long(text: str, name: str) -> list[str]:
    """Where a text has sentences that are too long, and which."""
    return [f"{name}:{each.line}: {each.words} words: {each.text}" for each in sentences(text) if each.words > LONGEST]


def helps(command: Command) -> Iterator[tuple[str, str]]:
    """Every help text of a command and of those in it, by what it is the help of."""
    yield command.name, command.help
    for parameter in (*command.arguments, *command.options):
        yield f"{command.name} {'/'.join(parameter.names) or parameter.value}", parameter.help
    for inner in command.commands:
        yield from helps(inner)


@pytest.mark.parametrize("page", [*PAGES, *NEWS], ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_have_short_sentences(page: Path) -> None:
    """No sentence has more than 25 words: outside code, headings and comments."""
    found = long(page.read_text(), str(page.relative_to(ROOT)))
    assert not found, "\n".join(found)


def test_help_texts_have_short_sentences() -> None:
    """The same of every help text of the command line."""
    texts = list(helps(described()))
    assert len(texts) > 100
    found = [each for name, text in texts for each in long(text, name)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One two. Three four.", [(1, 2), (1, 2)]),
        ("One two, e.g. Three\nfour. `five six.` seven", [(1, 5), (2, 2)]),
        ("Version 1.2 of a.toml: [a link](docs/a.md).", [(1, 6)]),
        ("- one two\n  three\n- four", [(1, 3), (3, 1)]),
        ("| one two | `a` |\n| --- | --- |\n| three. Four | five |", [(1, 2), (1, 1), (3, 1), (3, 1), (3, 1)]),
        ("# no heading\n\n```\nno code\n```\n\n    no code\n\none - two", [(9, 2)]),
        ("<!-- no\ncomment -->\none (Two three.) Four", [(3, 3), (3, 1)]),
        ("It asks `a | b`? yes", [(1, 4)]),
    ],
)
def test_sentences_are_told_apart(text: str, found: list[tuple[int, int]]) -> None:
    """Each begins on its line and has its number of words; a code span is one word."""
    assert [(each.line, each.words) for each in sentences(text)] == found


@given(st.lists(st.integers(1, 40), min_size=1))
def test_long_sentences_are_found(lengths: list[int]) -> None:
    """Those of more than 25 words, and no others."""
    text = "\n".join("Word" + " word" * (length - 1) + "." for length in lengths)
    assert len(long(text, "page")) == sum(length > LONGEST for length in lengths)


@given(st.text(alphabet="ab.`|\n#-[]()!<> A1*"))
def test_any_text_has_sentences(text: str) -> None:
    """Nothing makes the reader of pages fail, and every sentence begins on a line of the page."""
    assert all(1 <= each.line <= text.count("\n") + 1 for each in sentences(text))


def test_the_glossary_is_sorted_and_its_terms_are_used() -> None:
    """Each term stands once, in order, and occurs in another page."""
    glossary = ROOT / "docs/reference/glossary.md"
    terms = re.findall(r"^- \*\*(.+?)\*\*: ", glossary.read_text(), re.MULTILINE)
    others = "\n".join(page.read_text() for page in PAGES if page != glossary)
    assert len(terms) > 40
    assert terms == sorted(set(terms), key=str.casefold)
    assert [term for term in terms if not re.search(rf"\b{term}", others, re.IGNORECASE)] == []


def anchors(page: Path) -> set[str]:
    """What the headings of a page are linked by, as GitHub makes it of them."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """The links of a page to files or headings that are not there."""
    found = []
    for link in re.findall(r"\]\((?!\w+:)([^)\s]*)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", [*PAGES, *NEWS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link within the documentation leads to a file, and to a heading in it."""
    assert broken(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    """A file or a heading that is not there is named."""
    page = tmp_path / "page.md"
    page.write_text("# One `two`\n[a](page.md#one-two) [b](page.md#three) [c](d.md) [e](https://example.org/f.md)\n")
    assert broken(page) == ["page.md#three", "d.md"]
