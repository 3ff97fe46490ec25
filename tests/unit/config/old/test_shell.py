"""Assignment files are read as bash reads them, and what takes a shell is refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anetcon.config.old.shell import Assigned, ShellError, read

BASH = shutil.which("bash")
NAMES = ("A", "B", "NETS")
ASK = r"""
source "$1" || exit 1
for name in A B NETS; do
  declare -p $name >/dev/null 2>&1 || continue
  declare -n it=$name
  declared=$(declare -p $name); kind=-; [[ $declared == "declare -a"* ]] && kind=a
  [[ $kind == - && ${#it[@]} == 0 ]] && continue
  printf '%s\0' "$name" "$kind" "${#it[@]}" "${!it[@]}" "${it[@]}"
done
"""

Values = dict[str, tuple[bool, dict[int, str]]]


def values(assigned: Assigned) -> Values:
    """Every variable that is asked for: whether it is an array, and its entries."""
    return {
        name: (variable.array, {index: entry.text for index, entry in variable.entries.items()})
        for name, variable in assigned.variables.items()
        if name in NAMES
    }


def bash(folder: Path, text: str) -> Values:
    """The same from bash itself, which finds no program to run."""
    assert BASH
    file = folder / "sourced"
    file.write_text(text)
    command = [BASH, "--norc", "--noprofile", "-c", ASK, "bash", str(file)]
    environment = {"PATH": "/nonexistent", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, check=False)
    assert done.returncode == 0, (text, done.stderr)
    assert not done.stderr, (text, done.stderr)
    words = iter(done.stdout.decode().split("\0")[:-1])
    said: Values = {}
    for name in words:
        kind, count = next(words), int(next(words))
        indexes = [int(next(words)) for _ in range(count)]
        said[name] = (kind == "a", {index: next(words) for index in indexes})
    return said


PLAIN = [
    "a",
    "b",
    "1",
    ".",
    "*",
    "?",
    "[",
    "]",
    "[ab]",
    "^",
    "$",
    "-",
    "/",
    "#",
    "~",
    ":",
    "=",
    "{",
    "}",
    ",",
    "..",
    "é",
]
QUOTES = [
    '"a b"',
    '""',
    "''",
    "'a$b'",
    '"\\$a"',
    '"a\\b"',
    '"\\\\"',
    "'\n'",
    '"\\\n"',
    '"#"',
    "'#'",
    '$"a b"',
    "$'a\\tb'",
]
ESCAPES = ["\\ ", "\\\\", '\\"', "\\'", "\\;", "\\#", "\\(", "\\\n", "$'\\''", "$'\\x41\\101\\u00e9\\q'", "!"]
PIECES = st.sampled_from([*PLAIN, *QUOTES, *ESCAPES, "$A", "${A}", '"$A"', '"a${B}c"'])
WORDS = st.lists(PIECES, max_size=5).map("".join)
BLANKS = st.sampled_from([" ", "\t", "  ", " \\\n", "\n", "\n\n", ' # it\'s a "comment"\n', "\n#\n\t"])
ENTRIES = st.one_of(WORDS, st.sampled_from(['"${A[@]}"', '"${B[@]}"']), WORDS.map("[3]={}".format))
ARRAYS = st.lists(st.tuples(BLANKS, ENTRIES), max_size=4).map(
    lambda entries: "(" + "".join(blank + entry for blank, entry in entries) + "\n)"
)
ASSIGNMENTS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "export ", "declare -a ", "\t", "export B "]),
    st.sampled_from(["A", "B", "NETS", "A[2]", "B[0]"]),
    st.sampled_from(["=", "=", "+="]),
    st.one_of(WORDS, ARRAYS),
)
ENDS = st.sampled_from(["\n", ";", " ; ", " # c\n", "\n\n", " ", "\t", "\n# (\n", ";\n"])
FILES = st.lists(st.tuples(ASSIGNMENTS, ENDS), max_size=6).map(lambda parts: "".join(map("".join, parts)))

HARMLESS = st.text(alphabet="AB=+()[]\"'\\${}#;: \t\n~,.*?^ab01@", max_size=40)


@pytest.mark.skipif(BASH is None, reason="needs bash")
@given(text=FILES)
@settings(max_examples=300, deadline=None)
def test_what_is_read_is_what_bash_reads(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """A file of assignments is refused, or means what it means to bash: same variables, same kinds, same entries."""
    text = 'A=1 B=("x y" z)\n' + text
    try:
        assigned = read(text)
    except ShellError:
        return
    assert values(assigned) == bash(tmp_path_factory.getbasetemp(), text)


@pytest.mark.skipif(BASH is None, reason="needs bash")
@given(text=HARMLESS)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_as_bash_does_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever the characters: nothing is accepted that bash would refuse, run or understand otherwise."""
    try:
        assigned = read(text)
    except ShellError as error:
        assert 1 <= error.line <= text.count("\n") + 1  # noqa: PT017 - most texts are refused, some read
        return
    assert values(assigned) == bash(tmp_path_factory.getbasetemp(), text)


QUOTED = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=20)


@given(texts=st.lists(QUOTED, max_size=5))
def test_nothing_quoted_is_refused(texts: list[str]) -> None:
    """Any texts, in single or double quotes or with backslashes, in an array or not, are read as they were."""

    def double(text: str) -> str:
        return '"' + "".join("\\" + c if c in '$`"\\' else c for c in text) + '"'

    def single(text: str) -> str:
        return "'" + text.replace("'", "'\\''") + "'"

    for quote in (double, single):
        words = [quote(text) for text in texts]
        read_back = read("NETS=(\n" + " # c\n".join(words) + "\n) # c\n" + "".join(f"A={word};" for word in words))
        assert [entry.text for entry in read_back.variables["NETS"].values()] == texts
        assert not texts or read_back.variables["A"].value() == texts[-1]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("A=1\nB=$(hostname)", 2, "run a program"),
        ('A="$(hostname)"', 1, "run a program"),
        ("A=`hostname`", 1, "run a program"),
        ("A=a|b", 1, "'|'"),
        ("A=1 && B=2", 1, "'&'"),
        ("A=1 >x", 1, "'>'"),
        ("\nif [ -f x ]; then", 2, "if is no assignment"),
        ("[ -f x ] && A=1", 1, "[ is no assignment"),
        ("f() {\n}", 1, "f() is no assignment"),
        ("echo hello", 1, "'echo'"),
        (". /etc/default/x", 1, "another file"),
        ("source x", 1, "another file"),
        ("A = 3", 1, "write A="),
        ("A= 3", 1, "write A=3"),
        ("A=a b", 1, "quote a value"),
        ("A=(a\n*)", 2, "quote it"),
        ("A=({a,b})", 1, "multiply"),
        ("export A={a,b}", 1, "multiply"),
        ("A=~/x", 1, "whole path"),
        ("A=(a;b)", 1, "semicolon"),
        ("A=(a)(b)", 1, "'('"),
        ("A=1;;", 1, "';'"),
        ("\nA=(a\n b\n", 2, ") is missing"),
        ('A=1\nB="x\ny', 2, "nowhere closed"),
        ("B='x\ny", 1, "nowhere closed"),
        ("B=$'x\ny", 1, "nowhere closed"),
        ("A=$HOME", 1, "$HOME, which is not set above"),
        ("A=${B:-3}", 1, "only a shell knows"),
        ("A=$1", 1, "only a shell knows"),
        ("A=$'\\xff'", 1, "character itself"),
        ("A=$'\\cA'", 1, "character itself"),
        ("A[x]=3", 1, "'A[x]=3'"),
        ("A=([x]=3)", 1, "plain number"),
        ("export A=1 B=$A", 1, "several"),
        ("export A[1]=2", 1, "entry of an array"),
        ("A=([q w]x)", 1, "subscript"),
        ("A=$\\\nB", 1, "behind a $"),
        ("A[1]=(3)", 1, "an array into an entry"),
        ("IFS=,", 1, "IFS"),
        ("A=1\nB=2\r\n", 2, "dos2unix"),
        ("A=\0", 1, "byte 0"),
        ("A=\\", 1, "backslash"),
    ],
)
def test_what_takes_a_shell_is_refused(text: str, line: int, says: str) -> None:
    """Each such line is named with its reason."""
    with pytest.raises(ShellError) as refused:
        read(text)
    assert refused.value.line == line
    assert says in refused.value.reason


def test_patterns_that_stand_for_no_file_are_texts() -> None:
    """An unquoted pattern is what it says where it matches no file, as in bash; quoted characters match themselves."""
    asked: list[str] = []

    def is_glob(pattern: str) -> bool:
        asked.append(pattern)
        return False

    assigned = read('A=( ^qrouter-.*$ "*"? [^a]b )', is_glob)
    assert [entry.text for entry in assigned.variables["A"].values()] == ["^qrouter-.*$", "*?", "[^a]b"]
    assert asked == ["^qrouter-.*$", "[*]?", "[!a]b"]


def test_every_entry_knows_its_line() -> None:
    """Entries of an array and variables name the line they begin on; which were used is known."""
    assigned = read('A=1\nB=(\n  "$A"\n  # c\n  y\n)\nB+=(z)')
    assert [(entry.text, entry.line) for entry in assigned.variables["B"].values()] == [("1", 3), ("y", 5), ("z", 7)]
    assert assigned.variables["A"].line == 1
    assert assigned.used == {"A"}


def test_comments_may_be_of_any_encoding() -> None:
    """Bytes that are no UTF-8 are passed over in comments, as is a mark at the file's beginning."""
    text = b"\xef\xbb\xbf# Configuraci\xf3n\nA=1 # \xe1\n".decode(errors="surrogateescape")
    assert read(text).variables["A"].value() == "1"
