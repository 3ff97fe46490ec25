"""A file of shell assignments, read as bash means it, without a shell.

Known: comments, quoting and escapes of every kind, arrays over several lines, `+=`, subscripts, several assignments on
a line, `export` and `declare -a`, `$NAME`, `${NAME}` and `"${NAME[@]}"` of variables that the file set before.

Refuses to execute anything: whatever would take a shell (substitutions, pipes, conditions, patterns that stand for
file names, variables of the environment) is a ShellError with its line.
"""

from __future__ import annotations

import bisect
import fnmatch
import glob
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple


class ShellError(Exception):
    """Something that is no plain assignment; `reason` goes on behind the name of the file and the line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line, self.reason = line, reason


class Entry(NamedTuple):
    """One text, and the line it begins on."""

    text: str
    line: int


@dataclass
class Variable:
    """A variable as the file leaves it: entries by subscript. What is no array has entry 0 alone."""

    line: int
    array: bool = False
    entries: dict[int, Entry] = field(default_factory=dict)
    glued: int = 0
    """The line of a `NAME+=text` without parentheses on an array: the text went behind that of the first entry."""

    def values(self) -> list[Entry]:
        """`"${NAME[@]}"`."""
        return [self.entries[index] for index in sorted(self.entries)]

    def value(self) -> str:
        """`"$NAME"`."""
        return self.entries[0].text if 0 in self.entries else ""


class Assigned(NamedTuple):
    """Every variable by name, and which of them were used by later lines."""

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
            raise ShellError(text[: text.index(bad)].count("\n") + 1, what)
    reader = _Reader(text.removeprefix("\ufeff"), is_glob)
    reader.read()
    return Assigned(reader.variables, reader.used)


_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ASSIGNMENT = re.compile(rf"(?P<name>{_NAME})(?:\[(?P<index>0|[1-9][0-9]{{0,8}})\])?(?P<more>\+)?=")
_BARE = re.compile(rf"{_NAME}(?=[ \t\n;]|$)")
_DECLARE = re.compile(r"(?:export|(?:declare|typeset)(?:[ \t]+-[axg]+)*)(?=[ \t])")
_VARIABLE = re.compile(rf"\$(?:({_NAME})|\{{({_NAME})\}})")
_ALL = re.compile(rf'"\$\{{({_NAME})\[@\]\}}"(?=[ \t\n)#]|$)')
_SUBSCRIPT = re.compile(r"\[(0|[1-9][0-9]{0,8})\]=")
_BRACKETS = re.compile(r"\[[A-Za-z0-9_.^-]+\]")
_BRACES = re.compile(r"\{.*(,|\.\.).*\}", re.DOTALL)
_ANSI = re.compile(
    r"\\(?:(?P<one>[abeEfnrtv\\'\"?])|(?P<oct>[0-7]{1,3})|x(?P<hex>[0-9a-fA-F]{1,2})"
    r"|u(?P<u>[0-9a-fA-F]{1,4})|U(?P<U>[0-9a-fA-F]{1,8}))"
)
_ANSI_ONE = dict(zip("abeEfnrtv\\'\"?", "\a\b\x1b\x1b\f\n\r\t\v\\'\"?", strict=True))
_KEYWORDS = {"if", "for", "while", "until", "case", "select", "[[", "((", "[", "test", "function", "{", "(", "!"}
_SPECIAL = re.compile(
    r"IFS|BASH.*|GLOBIGNORE|SHELLOPTS|POSIXLY_CORRECT|S?RANDOM|SECONDS|LINENO|E?UID|PPID|GROUPS|DIRSTACK|FUNCNAME|HISTCMD"
    r"|EPOCH.*|OPT(IND|ARG)|PIPESTATUS|COMP_WORDBREAKS|_|LC_.*|LANG"
)
_QUOTED = "\0"
"""Stands for quoted characters where only unquoted ones count; no file holds it."""


class _Word:
    """The fields one word becomes: `"a"$B` is one, or several where the value of B has blanks and `split` is on."""

    def __init__(self, split: bool) -> None:
        self.split = split
        self.fields: list[list[tuple[str, bool]]] = []
        self.open = False

    def put(self, text: str, quoted: bool) -> None:
        if not self.open:
            self.fields.append([])
            self.open = True
        self.fields[-1] += [(character, quoted) for character in text]

    def put_value(self, text: str) -> None:
        """The value of an unquoted variable."""
        if not self.split:
            self.put(text, True)
            return
        for character in text:
            if character in " \t\n":
                self.open = False
            else:
                self.put(character, False)


class _Reader:
    """Goes through the text once."""

    def __init__(self, text: str, is_glob: Callable[[str], bool]) -> None:
        self.text, self.at = text, 0
        self.variables: dict[str, Variable] = {}
        self.used: set[str] = set()
        self._is_glob = is_glob
        self._ends = [place for place, character in enumerate(text) if character == "\n"]

    @property
    def line(self) -> int:
        return bisect.bisect_left(self._ends, self.at) + 1

    def fail(self, reason: str, line: int | None = None) -> ShellError:
        return ShellError(line or self.line, reason)

    def here(self, count: int = 1) -> str:
        return self.text[self.at : self.at + count]

    def skip_blanks(self) -> None:
        while self.here() in (" ", "\t") or self.here(2) == "\\\n":
            self.at += 2 if self.here() == "\\" else 1

    def skip_comment(self) -> None:
        if self.here() == "#":
            end = self.text.find("\n", self.at)
            self.at = end if end >= 0 else len(self.text)

    def read(self) -> None:
        """Command by command."""
        while self.at < len(self.text):
            self.skip_blanks()
            self.skip_comment()
            if self.here() == "\n":
                self.at += 1
            elif self.here():
                self.command()

    def command(self) -> None:
        """Assignments up to the end of the line or a semicolon."""
        declaring = _DECLARE.match(self.text, self.at)
        begin = self.at
        if declaring:
            self.at = declaring.end()
        kind = "" if not declaring else "array" if "a" in declaring[0].partition("-")[2] else "scalar"
        last = ""
        while True:
            self.skip_blanks()
            self.skip_comment()
            if self.here() in ("", "\n"):
                return
            if self.here() == ";" and self.at > begin and self.here(2) != ";;":
                self.at += 1
                return
            if found := _ASSIGNMENT.match(self.text, self.at):
                if kind and last:
                    raise self.fail("exports several values: give each a line of its own")
                self.assignment(found, kind)
                last = self.text[found.start() : self.at]
            elif declaring and (bare := _BARE.match(self.text, self.at)):
                if kind == "array":
                    self.variables.setdefault(bare[0], Variable(self.line)).array = True
                self.at = bare.end()
            else:
                raise self.fail(self.no_assignment(last))

    def no_assignment(self, last: str) -> str:
        """Why what is here is no assignment."""
        rest = self.text[self.at :].partition("\n")[0].rstrip()
        first = rest.split()[0] if rest.split() else rest
        for mark, what in (("$(", "a program"), ("`", "a program")):
            if rest.startswith(mark):
                return f"would run {what}: {rest[:40]}"
        if first[:1] in ("|", "&", "<", ">", ";", ")"):
            return f"needs a shell for {first[0]!r}"
        if re.match(rf"{_NAME}[ \t]+\+?=", rest):
            return f"has a blank before its =: write {first}=…"
        if re.match(rf"{_NAME}[ \t]*\(\)", rest) or first in _KEYWORDS or first.startswith("(("):
            return f"needs a shell: {first[:40]} is no assignment"
        if first in (".", "source"):
            return "reads another file: put the settings of that one here"
        if last.endswith("="):
            return f"has a blank behind its =, so the shell would run {first[:40]!r}: write {last}{first[:40]}"
        if last:
            return f"has {first[:40]!r} behind the value, which the shell would run: quote a value that has blanks"
        return f"would run {first[:40]!r}"

    # Values

    def assignment(self, found: re.Match[str], declared: str) -> None:
        """NAME=value, NAME+=value, NAME[1]=value, NAME=(…); `declared` as an array, as a scalar or not at all."""
        name, line = found["name"], self.line
        if _SPECIAL.fullmatch(name):
            raise self.fail(f"sets {name}, which changes the shell itself")
        if declared and found["index"]:
            raise self.fail("exports an entry of an array")
        self.at = found.end()
        old = self.variables.get(name)
        if self.here() == "(":
            if found["index"]:
                raise self.fail("puts an array into an entry of an array")
            self.at += 1
            new = self.array(line, old if found["more"] else None)
        else:
            text = self.scalar(bool(declared))
            new = Variable(line, array=bool(found["index"]) or declared == "array")
            if old is not None and (old.array or new.array):
                new.array, new.entries = True, dict(old.entries)
            index = int(found["index"] or 0)
            if found["more"] and old is not None and index in old.entries:
                text = old.entries[index].text + text
            new.entries[index] = Entry(text, line)
            new.glued = line if found["more"] and not found["index"] and old is not None and old.array else 0
        self.variables[name] = new
        if self.here() not in ("", " ", "\t", "\n", ";") and self.here(2) != "\\\n":
            raise self.fail(f"needs a shell for {self.here()!r}")

    def scalar(self, declaring: bool) -> str:
        word = _Word(split=False)
        self.word(word, tilde_after=":")
        characters = [pair for each in word.fields for pair in each]
        if declaring and _BRACES.search(_unquoted(characters)):
            raise self.fail("has {…,…}, which the shell would multiply: quote the value")
        return "".join(character for character, _ in characters)

    def array(self, line: int, before: Variable | None) -> Variable:
        """Entries up to the closing parenthesis."""
        made = Variable(line, True, dict(before.entries) if before else {})
        index = max(made.entries, default=-1) + 1
        while True:
            self.skip_blanks()
            self.skip_comment()
            if not self.here():
                raise self.fail("begins an array that is nowhere closed: ) is missing", line)
            if self.here() == "\n":
                self.at += 1
            elif self.here() == ")":
                self.at += 1
                return made
            else:
                begin = self.line
                subscript = _SUBSCRIPT.match(self.text, self.at)
                if subscript:
                    self.at = subscript.end()
                    index = int(subscript[1])
                for text in self.entry(bool(subscript)):
                    made.entries[index] = Entry(text, begin)
                    index += 1

    def entry(self, subscript: bool) -> list[str]:
        """One word of an array: no text, one, or several."""
        if not subscript and (whole := _ALL.match(self.text, self.at)):
            self.at = whole.end()
            return [entry.text for entry in self.variable(whole[1]).values()]
        if not subscript and self.here() == "[" and not _BRACKETS.match(self.text, self.at):
            raise self.fail("has an entry that begins with [, which may be meant as a subscript: quote it")
        begin = self.at
        word = _Word(split=not subscript)
        self.word(word, tilde_after=":=")
        if subscript:
            if _VARIABLE.search(self.text[begin : self.at]):
                raise self.fail("uses a variable behind a subscript")
            return ["".join(character for character, _ in each) for each in word.fields] or [""]
        for each in word.fields:
            self.refuse_patterns(each)
        return ["".join(character for character, _ in each) for each in word.fields]

    def refuse_patterns(self, characters: list[tuple[str, bool]]) -> None:
        """An unquoted word of an array is multiplied by braces, and replaced by the names of files it matches."""
        text = "".join(character for character, _ in characters)
        plain = _unquoted(characters)
        if _BRACES.search(plain):
            raise self.fail(f"has {{…,…}}, which the shell would multiply: quote {text!r}")
        if re.match(r"\[.*\]\+?=", plain):
            raise self.fail("has a subscript that is no plain number")
        if any(character in plain for character in "*?["):
            pattern = "".join(glob.escape(c) if quoted else c for c, quoted in characters).replace("[^", "[!")
            if self._is_glob(pattern):
                raise self.fail(f"has names of files where it says {text!r}, since it is not quoted: quote it")

    def word(self, word: _Word, tilde_after: str) -> None:
        """Everything up to an unquoted blank, end of line, semicolon or closing parenthesis."""
        before = ""
        while (here := self.here()) not in ("", " ", "\t", "\n", ";", ")"):
            if here == "~" and (before == "" or before in tilde_after):
                raise self.fail("begins with ~, which only a shell knows: write the whole path")
            if self.here(2) == "\\\n":
                self.at += 2
                continue
            before = here
            if here == "\\":
                self.escape(word)
            elif here == "'":
                end = self.closing("'", self.at + 1)
                word.put(self.text[self.at + 1 : end], True)
                self.at = end + 1
            elif here == '"' or self.here(2) == '$"':
                self.at += 1 if here == '"' else 2
                self.double(word)
            elif self.here(2) == "$'":
                self.ansi(word)
            elif here in ("$", "`"):
                self.dollar(word, quoted=False)
            elif here in "|&<>(":
                raise self.fail(f"needs a shell for {here!r}: quote it if it is meant as it stands")
            else:
                word.put(here, False)
                self.at += 1
        if self.here() == ";" and word.split:
            raise self.fail("has a semicolon in an array: quote it if it is meant as it stands")

    def escape(self, word: _Word) -> None:
        if self.at + 1 >= len(self.text):
            raise self.fail("ends in a backslash")
        if self.text[self.at + 1] != "\n":
            word.put(self.text[self.at + 1], True)
        self.at += 2

    def closing(self, quote: str, begin: int) -> int:
        end = self.text.find(quote, begin)
        if end < 0:
            raise self.fail(f"begins with {quote} what is nowhere closed")
        return end

    def double(self, word: _Word) -> None:
        """Inside "…"; the opening quote is passed."""
        begin = self.line
        word.put("", True)
        while (here := self.here()) != '"':
            if not here:
                raise self.fail('begins with " what is nowhere closed', begin)
            if here in ("$", "`"):
                self.dollar(word, quoted=True)
            elif here == "\\" and self.text[self.at + 1 : self.at + 2] in ("$", "`", '"', "\\", "\n"):
                self.escape(word)
            else:
                word.put(here, True)
                self.at += 1
        self.at += 1

    def dollar(self, word: _Word, quoted: bool) -> None:
        """A variable, a plain $, or what only a shell can do."""
        found = _VARIABLE.match(self.text, self.at)
        if self.text.startswith("\\\n", found.end() if found else self.at + 1):
            raise self.fail("has a line that goes on behind a $: write it in one line")
        if found:
            value = self.variable(found[1] or found[2]).value()
            self.at = found.end()
            if quoted:
                word.put(value, True)
            else:
                word.put_value(value)
            return
        behind = self.text[self.at + 1 : self.at + 2]
        if self.here() == "`" or behind == "(":
            raise self.fail("would run a program: write what it prints")
        if behind and (behind in "{[@*#?-$!" or behind in "0123456789"):
            raise self.fail(f"has ${behind}…, which only a shell knows; a plain $ is written \\$ or in single quotes")
        word.put("$", quoted)
        self.at += 1

    def variable(self, name: str) -> Variable:
        if name not in self.variables:
            raise self.fail(f"uses ${name}, which is not set above; a plain $ is written \\$ or in single quotes")
        self.used.add(name)
        return self.variables[name]

    def ansi(self, word: _Word) -> None:
        """$'…' with the escapes of C."""
        begin = self.line
        self.at += 2
        word.put("", True)
        while self.here() != "'":
            if not self.here():
                raise self.fail("begins with $' what is nowhere closed", begin)
            found = _ANSI.match(self.text, self.at)
            if not found:
                if self.here(2) == "\\c":
                    raise self.fail("has \\c…: write the character itself")
                word.put(self.here(), True)
                self.at += 1
                continue
            self.at = found.end()
            word.put(_ANSI_ONE[found["one"]] if found["one"] else self.by_number(found), True)
        self.at += 1

    def by_number(self, found: re.Match[str]) -> str:
        text = found["oct"] or found["hex"] or found["u"] or found["U"]
        number = int(text, 8 if found["oct"] else 16)
        unicode = found["u"] or found["U"]
        if not 0 < number < (0x110000 if unicode else 0x80) or 0xD800 <= number < 0xE000:
            raise self.fail(f"has {found[0]}: write the character itself")
        return chr(number)


def _unquoted(characters: list[tuple[str, bool]]) -> str:
    return "".join(_QUOTED if quoted else character for character, quoted in characters)
