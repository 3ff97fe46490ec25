"""Every command in the documentation is one that the program understands; those that only read are run, and so is what
makes a store."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from anetcon.cli.main import app
from tests.support.asking import Answer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BENCHES = sorted((ROOT / "bench").glob("*.py"))
GENERATED = "<!-- Written by `make docs`"

_BLOCK = re.compile(r"^```(?:sh|console)?\n(.*?)^```$|((?:^ {4}\S.*\n)+)", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`((?:\S*/)?anetcon [^`\n]+|python3? -m bench[^`\n]*|python3? bench/[^`\n]*)`")
_ENDS = {"|", "||", "&&", ";", ">", ">>", "<", "&", ")"}
_PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|\.\.\.|…|\$")
READ = {"who", "search", "gaps", "status", "sql", "config"}


def lines(text: str) -> Iterator[str]:
    """What is to be typed: lines of blocks, and commands within sentences."""
    for fenced, indented in _BLOCK.findall(text):
        for line in (fenced or indented).splitlines():
            yield line.strip().removeprefix("$ ").removeprefix("# ")
    yield from _SPAN.findall(text)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command: a line may have several, and others' programs beside them."""
    for line in lines(text):
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:  # no line of a shell
            continue
        one: list[str] = []
        for word in [*words, ";"]:
            if word in _ENDS:
                yield one
                one = []
            else:
                one.append(word)


def ours(words: list[str]) -> list[str] | None:
    """The words after `anetcon`; None of a command that is another's."""
    words = words[1:] if words[:1] == ["sudo"] else words
    if not words or words[0].rpartition("/")[2] != "anetcon" or words[0].startswith("/etc"):
        return None
    return words[1:]


def understood(words: list[str]) -> str:
    """Why the program does not understand a command; empty when it does. A value that stands for one may be any."""
    command: Any = typer.main.get_command(app)
    names: list[str] = []
    while getattr(command, "commands", None) is not None and words:
        found = command.commands.get(words[0])
        if found is None:
            return "" if words[0] in ("--version", "--help", "-V", "-h") else f"no command {words[0]}"
        names, words, command = [*names, words[0]], words[1:], found
    try:
        command.make_context(" ".join(names), list(words))
    except typer.Exit:
        pass
    except Exception as error:  # noqa: BLE001 - what is not click's is a failure just as well
        kind = type(error).__name__
        stands = kind == "BadParameter" and any(_PLACEHOLDER.search(word) for word in words)
        named = kind == "MissingParameter" and not words  # the name of a command alone is no call of it
        return "" if stands or named else f"{kind}: {error}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_understood(page: Path) -> None:
    """The real parser knows each command and each of its options."""
    text = page.read_text()
    if text.startswith(GENERATED):
        return
    told = [(words, understood(words)) for words in map(ours, commands(text)) if words]
    assert [(words, why) for words, why in told if why] == []


def test_the_test_sees_commands() -> None:
    """There are many; a command, an option or a value that does not exist is found."""
    found = [words for page in PAGES for words in map(ours, commands(page.read_text())) if words]
    assert len(found) > 100
    assert understood(["whoo", "203.0.113.7"])
    assert understood(["who", "203.0.113.7", "--att", "now"])
    assert understood(["search", "--format", "yaml"])
    assert not understood(["search", "--format", "FORMAT"])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the documentation says it is made, with few rows."""
    path = tmp_path_factory.mktemp("made") / "store"
    words = ["-m", "bench.make_store", "--rows", "1000", "--days", "2", "--out", str(path)]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "1000 connections in" in done.stdout) == (0, True), done.stderr
    return path


def test_commands_that_read_run(store: Path) -> None:
    """Each is answered from a store, and none is wrong usage or an error."""
    seen = 0
    for page in PAGES:
        for words in filter(None, map(ours, commands(page.read_text()))):
            concrete = not any(_PLACEHOLDER.search(word) for word in words)
            if words[0] in READ - {"config"} and concrete and not {"-c", "--store"} & {*words} and words[1:]:
                answer = Answer(*words, "--store", store)
                assert answer.status in (0, 1, 3), (page.name, words, answer.err)
                seen += 1
    assert seen > 5


@cache
def helped(*module: str) -> str:
    """What a program of bench prints about its options."""
    command = [sys.executable, *module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (module, done.stderr)
    return done.stdout


@pytest.mark.parametrize("page", [*PAGES, *BENCHES], ids=lambda page: str(page.relative_to(ROOT)))
def test_benches_can_be_started_as_it_is_said(page: Path) -> None:
    """`python -m bench...` and `python bench/...py`, from the root of a checkout, know their options."""
    for words in commands(page.read_text()):
        if re.fullmatch(r"(\S*/)?python3?", words[0] if words else "") and re.match(
            r"bench\b", words[1].removeprefix("-m") if words[1:] and words[1] != "-m" else "".join(words[2:3])
        ):
            module = words[1:3] if words[1] == "-m" else words[1:2]
            said = helped(*module)
            options = [word.partition("=")[0] for word in words if word.startswith("--")]
            assert [option for option in options if option not in said] == [], words
