"""Assignment files are read as bash reads them, and what takes a shell is refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.config.old.shell import Assigned, ShellError, read
from tests.support.examples import examples

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
        name: (variable.array, {index: word.text for index, word in enumerate(variable.words)})
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
USUAL = st.sampled_from(["a", "^", "$A", '"$A"', '"a b"', "'a$b'", "\\ ", "\\\n", "#", "."])
WORDS = st.lists(st.one_of(USUAL, USUAL, USUAL, USUAL, USUAL, PIECES), max_size=4).map("".join)
BLANKS = st.sampled_from([" ", "\t", "  ", " \\\n", "\n", "\n\n", ' # it\'s a "comment"\n', "\n#\n\t"])
ARRAYS = st.lists(st.tuples(BLANKS, WORDS), max_size=4).map(
    lambda entries: "(" + "".join(blank + entry for blank, entry in entries) + "\n)"
)
ASSIGNMENTS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "", "export ", "\t", "export B;"]),
    st.sampled_from(["A", "B", "NETS"]),
    st.one_of(
        st.builds("={}".format, WORDS),
        st.builds("{}{}".format, st.sampled_from(["=", "=", "+="]), ARRAYS),
    ),
)
ENDS = st.sampled_from(["\n", "\n", "\n", "\n", ";", " ; ", " # c\n", "\n\n", "\t\n", "\n# (\n", ";\n", " "])
FILES = st.lists(st.tuples(ASSIGNMENTS, ENDS), max_size=6).map(lambda parts: "".join(map("".join, parts)))

HARMLESS = st.text(alphabet="AB=+()[]\"'\\${}#;: \t\n~,.*?^ab01@", max_size=40)


@pytest.mark.skipif(BASH is None, reason="needs bash")
@given(text=FILES)
@examples(3)
def test_what_is_read_is_what_bash_reads(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """A file of assignments is refused, or means what it means to bash: same variables, same kinds, same words."""
    text = 'A=1\nB="x y"\n' + text
    try:
        assigned = read(text)
    except ShellError:
        return
    assert values(assigned) == bash(tmp_path_factory.getbasetemp(), text)


@pytest.mark.skipif(BASH is None, reason="needs bash")
@given(text=HARMLESS)
@examples(3)
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
        assert [word.text for word in read_back.variables["NETS"].words] == texts
        assert not texts or read_back.variables["A"].text == texts[-1]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("A=1\nB=$(hostname)", 2, "this line runs `$(hostname)`; replace it with its output"),
        ('A="$(hostname)"', 1, "runs `$(hostname)`"),
        ("A=`hostname`", 1, "runs `hostname`; replace it with its output"),
        ("\nif [ -f x ]; then", 2, "runs `if [ -f x ]; then`; replace it with the assignments that it makes"),
        ("[ -f x ] && . x", 1, "runs `[ -f x ] && . x`; replace it with the assignments"),
        (". /etc/default/x", 1, "runs `. /etc/default/x`"),
        ("f() {\n}", 1, "runs `f() {`"),
        ("declare -a A=(x)", 1, "runs `declare -a A=(x)`"),
        ("A[1]=3", 1, "runs `A[1]=3`"),
        ("A=1;;", 1, "runs `;`"),
        ("A = 3", 1, "has a blank before its =; write A=…"),
        ("A= 3", 1, "has `3` behind the value; quote a value that has blanks"),
        ("A=1 B=2", 1, "has `B=2` behind the value"),
        ("A=1 && B=2", 1, "has `&& B=2` behind the value"),
        ("A=1 >x", 1, "has `>x` behind the value"),
        ("A=a|b", 1, "has | that means something to a shell; quote it"),
        ("A=(a)(b)", 1, "has `(b)` behind the value"),
        ("A=(a;b)", 1, "has ; that means something"),
        ("A=({a,b})", 1, "has { that means"),
        ("export A={a,b}", 1, "has { that means"),
        ("A=~/x", 1, "has ~ that means"),
        ("A=$'\\x41'", 1, "has $ that means"),
        ("A=\\", 1, "has \\ that means"),
        ("A=(a\n*)", 2, "has * without quotes, and * ? [ stand for files; quote it"),
        ("A=('a'*)", 1, "has 'a'* without quotes"),
        ("A=([3]=x)", 1, "has [3]=x without quotes"),
        ("\nA=(a\n b\n", 2, ") is missing"),
        ('A=1\nB="x\ny', 2, 'has " that nowhere ends'),
        ("B='x\ny", 1, "has ' that nowhere ends"),
        ("A=$HOME", 1, "uses $HOME, which no line above sets to one text; write it out"),
        ("A=(x)\nB=$A", 2, "uses $A, which no line above sets to one text"),
        ("A=${B:-3}", 1, "uses ${B:-3}, which"),
        ("A=$1", 1, "uses $1, which"),
        ("A='x y'\nB=($A)", 2, 'uses $A without quotes; write "$A"'),
        ("B=x\nA=$\\\nB", 2, "uses $, which"),
        ("A=1\nB=$A\\\nb", 2, "uses $A, which"),
        ("A=1\nA+=2", 2, "adds to A; write A+=( … )"),
        ("A=(1)\nA=2", 2, "adds to A; write A+=( … )"),
        ("IFS=,", 1, "sets IFS, which changes the shell itself"),
        ("A=1\nB=2\r\n", 2, "dos2unix"),
        ("A=\0", 1, "byte 0"),
    ],
)
def test_what_takes_a_shell_is_refused(text: str, line: int, says: str) -> None:
    """Each such line is named, with what to write instead."""
    with pytest.raises(ShellError) as refused:
        read(text, lambda _: True)
    assert refused.value.line == line
    assert str(refused.value).startswith("this line ")
    assert says in str(refused.value)


def test_patterns_that_stand_for_no_file_are_texts() -> None:
    """An unquoted pattern is what it says where it matches no file, as in bash."""
    asked: list[str] = []

    def is_glob(pattern: str) -> bool:
        asked.append(pattern)
        return False

    assigned = read('A=( ^qrouter-.*$ "*" a[^a]b )', is_glob)
    assert [word.text for word in assigned.variables["A"].words] == ["^qrouter-.*$", "*", "a[^a]b"]
    assert asked == ["^qrouter-.*$", "a[!a]b"]


def test_what_operators_write() -> None:
    """Quotes, arrays over several lines, comments, `+=`, `export`, continued lines and variables of lines above."""
    text = r"""
# a comment
A=30 # behind a value
export B="x $A"; export B
NETS=( 'q 1' "${B}" \
  # in an array
  $A \"r\" "^q.*$" )
NETS+=(
  z)
"""
    assigned = read(text)
    assert assigned.variables["B"].text == "x 30"
    assert [word.text for word in assigned.variables["NETS"].words] == ["q 1", "x 30", "30", '"r"', "^q.*$", "z"]
    assert assigned.used == {"A", "B"}


def test_every_word_knows_its_line() -> None:
    """Words of an array and variables name the line they begin on; which were used is known."""
    assigned = read('A=1\nB=(\n  "$A"\n  # c\n  y\n)\nB+=(z)')
    assert assigned.variables["B"].words == [("1", 3), ("y", 5), ("z", 7)]
    assert assigned.variables["A"].line == 1
    assert assigned.used == {"A"}


def test_comments_may_be_of_any_encoding() -> None:
    """Bytes that are no UTF-8 are passed over in comments, as is a mark at the file's beginning."""
    text = b"\xef\xbb\xbf# Configuraci\xf3n\nA=1 # \xe1\n".decode(errors="surrogateescape")
    assert read(text).variables["A"].text == "1"
