"""Shell assignments are read as bash means them, and nothing is ever executed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anetcon.config.shell import ShellError, read

WORDS = st.lists(
    st.sampled_from(
        [
            *(
                "a",
                "q-1",
                "10.0.0.0/8",
                "^x.*$",
                "=",
                "#",
                ":",
                "é",
                "'b c'",
                '"d e"',
                '"$A"',
                "$A",
                "${B}",
                '"\\$x\\y\\""',
            ),
            *("\\ ", "\\#", "\\\\", "$'t\\tn\\x41'", "''", '""', '"#"', "'$A'", "[", "]", "%", "@", ",", "\\\n", "+"),
        ]
    ),
    max_size=4,
).map("".join)
NAME = st.sampled_from(["A", "B", "NETS", "NAMESPACES"])
ARRAY = st.lists(st.tuples(WORDS, st.sampled_from([" ", "\n", "  ", " # it\n"])), max_size=4).map(
    lambda words: "( " + "".join(word + behind for word, behind in words) + ")"
)
LINE = st.tuples(
    st.sampled_from(["", "  ", "export ", "# "]),
    NAME,
    st.sampled_from(["=", "+=", "[2]="]),
    st.one_of(WORDS, ARRAY),
    st.sampled_from(["\n", " # a comment\n", ";\n", " \n\n"]),
).map("".join)
SHOW = """
for v in A B NETS NAMESPACES; do
  declare -n r=$v
  for i in "${!r[@]}"; do printf '%s\\0%s\\0%s\\0' "$v" "$i" "${r[$i]}"; done
done
"""


def bash(path: Path) -> list[str] | None:
    """What bash makes of a file, name, subscript and value in turn; None when it complains."""
    script = f'A= B=; unset A B; . "$1" >/dev/null || exit 9; {SHOW}'
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", script, "bash", str(path)],
        capture_output=True,
        cwd="/",
        env={"LC_ALL": "C.UTF-8", "PATH": "/nowhere"},
        timeout=20,
    )
    if done.returncode or done.stderr:
        return None
    return done.stdout.decode(errors="surrogateescape").split("\0")[:-1]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(LINE, min_size=1, max_size=5).map("".join))
def test_as_bash(tmp_path: Path, text: str) -> None:
    """Where a file is taken, every variable has the value it has in bash."""
    path = tmp_path / "anetcon.conf"
    path.write_text(text)
    try:
        variables = read(text).variables
    except ShellError:
        return
    ours = [
        part
        for name in ("A", "B", "NETS", "NAMESPACES")
        if name in variables
        for index, entry in sorted(variables[name].entries.items())
        for part in (name, str(index), entry.text)
    ]
    assert ours == bash(path)


@given(st.text(alphabet=st.sampled_from("AB=+()[]{}$`'\"\\;#~*?|&<>! \n\tN01éa"), max_size=40))
def test_anything_is_read_or_refused(text: str) -> None:
    """No text makes the reader fail otherwise than by a ShellError that names one of its lines."""
    lines = range(1, text.count("\n") + 2)
    try:
        found = [variable.line for variable in read(text).variables.values()]
    except ShellError as error:
        found = [error.line]
    assert all(line in lines for line in found)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("A=$(date)", "would run a program"),
        ("A=`date`", "would run a program"),
        ("A=${B:-3}", "only a shell knows"),
        ("A=$HOME", "not set above"),
        ("A=x|y", "needs a shell for '|'"),
        ("if true; then A=1; fi", "if is no assignment"),
        ("f() { :; }", "is no assignment"),
        (". /etc/default/x", "reads another file"),
        ("rm -rf /nowhere", "would run 'rm'"),
        ("A = 3", "blank before its ="),
        ("A= 3", "blank behind its ="),
        ("A=3 4", "quote a value"),
        ('A="x', "nowhere closed"),
        ("A=(x", "nowhere closed"),
        ("A=~/x", "begins with ~"),
        ("A=({a,b})", "would multiply"),
        ("PATH=/x; IFS=,", "changes the shell itself"),
        ("A=3\r", "Windows"),
    ],
)
def test_refused(line: str, reason: str) -> None:
    """What would take a shell is refused, with its line and the reason."""
    with pytest.raises(ShellError, match=None) as error:
        read(f"# a comment\n\n{line}\n")
    assert reason in error.value.reason
    assert error.value.line == 3
