"""Assignments of a shell file, read as bash means them, without a shell.

Known: comments, `NAME=value`, `NAME=( … )` over several lines, `NAME+=( … )`, `export`, every quoting but $'…', and
`$NAME` of a variable that a line above sets. Refuses to guess: everything else is a ShellError that says what to write.
"""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class ShellError(Exception):
    """Something that is no plain assignment."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


class Word(NamedTuple):
    """A value or an entry of an array, and the line it begins on."""

    text: str
    line: int


@dataclass(frozen=True)
class Variable:
    """A variable as the file leaves it; one that is no array has one word."""

    line: int
    array: bool
    words: list[Word]

    @property
    def text(self) -> str:
        """`"$NAME"`."""
        return self.words[0].text if self.words else ""


class Assigned(NamedTuple):
    """Every variable by name, and which of them later lines use."""

    variables: dict[str, Variable]
    used: set[str]


def matches_files(pattern: str) -> bool:
    """Whether bash, started in / as services are, would put names of files in the place of this pattern."""
    dots = any(fnmatch.fnmatchcase(name, pattern) for name in (".", ".."))
    return dots or bool(glob.glob(pattern, root_dir="/", include_hidden=True))  # noqa: PTH207 - Path.glob knows no hidden=


def read(text: str, is_glob: Callable[[str], bool] = matches_files) -> Assigned:
    """Every assignment of a file. Bytes that are no UTF-8 come as surrogates, and may be in comments only."""
    for bad, what in (("\r", "ends as on Windows; convert the file with dos2unix"), ("\0", "holds a byte 0")):
        if bad in text:
            raise ShellError(text[: text.index(bad)].count("\n") + 1, f"this line {what}")
    reader = _Reader(text.removeprefix("\ufeff"), is_glob)
    reader.read()
    return Assigned(reader.variables, reader.used)


_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_BLANKS = re.compile(r"(?:[ \t]|\\\n)*(?:(?<![^\s;(])#[^\n]*)?")
_EXPORTED = re.compile(rf"export(?:[ \t]+{_NAME})+(?=[ \t]*(?:[;\n]|\Z)|[ \t]+#)")
_ASSIGNMENT = re.compile(rf"(?:export[ \t]+)?(?P<name>{_NAME})(?P<more>\+?)=(?P<array>\(?)")
_PIECE = re.compile(
    r"""'(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | \\(?P<escaped>.)
    | (?P<plain>[^ \t\n'"\\$`|&<>();{}~]+ | \$(?![\w{[(@*\#?$!'"\\`-]))""",
    re.DOTALL | re.VERBOSE,
)
_EXPANDED = re.compile(
    rf"""\$(?:(?P<name>{_NAME})|\{{(?P<braced>{_NAME})\}})(?!\\\n|\w) | (?P<runs>`[^`\n]*`? | \$\([^)\n]*\)?)
    | \$\{{[^}}\n]*\}}? | \$[\w[@*\#?$!-] | \$\w*\\\n""",
    re.VERBOSE,
)
_IN_DOUBLE = re.compile(rf"""\\(?P<escaped>[$`"\\\n]) | {_EXPANDED.pattern}""", re.VERBOSE)
_CHANGE_THE_SHELL = re.compile(
    r"IFS|BASH.*|GLOBIGNORE|SHELLOPTS|POSIXLY_CORRECT|S?RANDOM|SECONDS|LINENO|E?UID|PPID|GROUPS|DIRSTACK|FUNCNAME"
    r"|HISTCMD|EPOCH.*|OPT(IND|ARG)|PIPESTATUS|COMP_WORDBREAKS|_|LC_.*|LANG"
)


class _Reader:
    """Goes through the text once."""

    def __init__(self, text: str, is_glob: Callable[[str], bool]) -> None:
        self.text, self.at = text, 0
        self.variables: dict[str, Variable] = {}
        self.used: set[str] = set()
        self._is_glob = is_glob

    def read(self) -> None:
        """Assignment by assignment; between two is the end of a line, or a semicolon."""
        while not self._ends():
            if self._take("\n"):
                continue
            if found := _EXPORTED.match(self.text, self.at):
                self.at = found.end()
            else:
                self._assign()
            if not (self._ends() or self._take("\n") or self._take(";")):
                raise self._fail(f"this line has `{self._rest()}` behind the value; quote a value that has blanks")

    def _assign(self) -> None:
        found, line = _ASSIGNMENT.match(self.text, self.at), self._line()
        if not found:
            if blank := re.compile(rf"({_NAME})[ \t]+\+?=").match(self.text, self.at):
                raise self._fail(f"this line has a blank before its =; write {blank[1]}=…")
            raise self._fail(f"this line runs `{self._rest()}`; replace it with the assignments that it makes")
        name, old = found["name"], self.variables.get(found["name"])
        if _CHANGE_THE_SHELL.fullmatch(name):
            raise self._fail(f"this line sets {name}, which changes the shell itself; remove it")
        if not found["array"] and (found["more"] or (old and old.array)):
            raise self._fail(f"this line adds to {name}; write {name}+=( … ) for an array, else the whole value")
        self.at = found.end()
        if not found["array"]:
            self.variables[name] = Variable(line, False, [self._word(in_array=False)])
            return
        before = old.words if old and found["more"] else []
        self.variables[name] = Variable(line, True, [*before, *self._array(line)])

    def _array(self, line: int) -> list[Word]:
        words: list[Word] = []
        while not self._ends():
            if self._take(")"):
                return words
            if not self._take("\n"):
                words.append(self._word(in_array=True))
        raise ShellError(line, "this line begins an array that nowhere ends; ) is missing")

    def _word(self, in_array: bool) -> Word:
        begin, line, text, plain = self.at, self._line(), "", ""
        while self.text[self.at : self.at + 1] not in ("", " ", "\t", "\n", ")" if in_array else ";"):
            if found := _PIECE.match(self.text, self.at):
                piece = self._literal(found)
                plain += found["plain"] or ""
            elif found := _EXPANDED.match(self.text, self.at):
                piece = self._value(found)
                if in_array and (not piece or re.search(r"[\s*?[\\]", piece)):
                    raise self._fail(f'this line uses {found[0]} without quotes; write "{found[0]}"')
            else:
                here = self.text[self.at]
                why = "nowhere ends" if here in "'\"" else "means something to a shell; quote it to have it as it is"
                raise self._fail(f"this line has {here} that {why}")
            text += piece
            self.at = found.end()
        if in_array and re.search(r"[*?[]", plain):
            whole = self.text[begin : self.at]
            if plain != whole or plain.startswith("[") or self._is_glob(plain.replace("[^", "[!")):
                raise ShellError(line, f"this line has {whole} without quotes, and * ? [ stand for files; quote it")
        return Word(text, line)

    def _literal(self, found: re.Match[str]) -> str:
        if found["double"] is not None:
            return _IN_DOUBLE.sub(self._value, found["double"])
        return found["single"] or (found["escaped"] or "").replace("\n", "") or found["plain"] or ""

    def _value(self, found: re.Match[str]) -> str:
        """What stands for a variable, or, in double quotes, for a backslash and the character behind it."""
        if (escaped := found.groupdict().get("escaped")) is not None:
            return str(escaped).replace("\n", "")
        if found["runs"]:
            raise self._fail(f"this line runs `{found[0].strip('`')}`; replace it with its output")
        name = found["name"] or found["braced"]
        variable = self.variables.get(name or "")
        if variable is None or variable.array:
            used = found[0].rstrip("\\\n")
            raise self._fail(f"this line uses {used}, which no line above sets to one text; write it out")
        self.used.add(name)
        return variable.text

    def _ends(self) -> bool:
        """Pass blanks and a comment; whether nothing follows."""
        found = _BLANKS.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at == len(self.text)

    def _take(self, text: str) -> bool:
        self._ends()
        there = self.text.startswith(text, self.at)
        self.at += len(text) * there
        return there

    def _rest(self) -> str:
        return self.text[self.at :].partition("\n")[0].strip()[:40]

    def _line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def _fail(self, reason: str) -> ShellError:
        return ShellError(self._line(), reason)
