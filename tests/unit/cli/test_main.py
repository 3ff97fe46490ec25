"""The program as a whole: what it lists, how it ends."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from anetcon import __version__
from anetcon.cli import main
from anetcon.cli.main import COMMANDS, app
from anetcon.errors import DEFECT, AnetconError
from tests.support.asking import Answer
from tests.support.records import Making, start

MAIN = [sys.executable, "-m", "anetcon.cli.main"]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_says_the_same_everywhere(name: str) -> None:
    """The line of help in the list of commands is the first line of the command's own."""
    group: Any = typer.main.get_command(app)
    command = group.commands[name]
    assert str(command.help).partition("\n")[0] == COMMANDS[name][1]
    answer = Answer(name, "-h")
    assert answer.status == 0
    assert COMMANDS[name][1] in " ".join(answer.out.split())


def test_help_lists_every_command_and_imports_none() -> None:
    """`--help` shows every command with its line, and loads neither the commands nor what they stand on."""
    script = (
        "import sys, anetcon.cli.main as m\n"
        "try: m.app(['--help'], prog_name='anetcon')\n"
        "except SystemExit: pass\n"
        "print([n for n in ('numpy', 'pyarrow', 'duckdb', 'rich', 'msgspec', 'pydantic') if n in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    for name, (_, line) in COMMANDS.items():
        assert any(name in said and line in said for said in out.splitlines()), name
    assert out.splitlines()[-1] == "[]"


def test_no_command_and_a_wrong_one() -> None:
    """Without a command there is help; a wrong one names the nearest. Both are wrong usage."""
    assert (Answer().status, "COMMAND" in Answer().out + Answer().err) == (2, True)
    answer = Answer("serach")
    assert answer.status == 2
    assert "search" in answer.err


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option: str) -> None:
    """The version, and nothing else."""
    assert (Answer(option).status, Answer(option).out) == (0, f"anetcon {__version__}\n")


def test_errors_are_one_sentence(tmp_path: Path) -> None:
    """What a user can cause has no traceback, in a process of its own too."""
    done = subprocess.run([*MAIN, "gaps", "--store", tmp_path], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (8, "")
    assert done.stderr.startswith("anetcon: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    """Whoever reads only the first line gets it, and no complaint about the rest."""
    store = Making(tmp_path / "store").add(*[start(src_port=port) for port in range(20_000)]).close()
    read, write = os.pipe()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    words = ["search", "--store", str(store), "--limit", "0", "--format", "jsonl"]
    with subprocess.Popen([*MAIN, *words], stdout=write, stderr=subprocess.PIPE, text=True, env=environment) as process:
        os.close(write)
        with os.fdopen(read) as pipe:
            assert json.loads(pipe.readline())["src_port"] == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_the_output(tmp_path: Path, unbuffered: str) -> None:
    """What cannot be printed is said in one sentence, also where nothing was found: that is no answer."""
    store = Making(tmp_path / "store").add(start()).close()
    words = ["who", "203.0.113.99", "--at", "2026-11-20T13:05:09Z", "--store", str(store)]
    with Path("/dev/full").open("w") as full:
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(
            [*MAIN, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (AnetconError.exit_status, 1), done.stderr
    assert "cannot write the output: No space left on device" in done.stderr


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_full_disk_behind_what_needs_no_command(option: str) -> None:
    """The same sentence."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*MAIN, option], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (AnetconError.exit_status, 1), done.stderr


def test_closed_streams_of_what_it_executes() -> None:
    """The keeper inherits the empty ones: its lock and its children's journal would be what they print to."""
    told = "import os; raise SystemExit(sum(os.readlink(f'/proc/self/fd/{n}') == os.devnull for n in range(3)))"
    words = f"['{sys.executable}', '-c', {told!r}]"
    script = f"import os, anetcon.cli.main as m\nm.app = lambda **_: os.execv({sys.executable!r}, {words})\nm.main()"
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", script]
    assert subprocess.run(closed, check=False).returncode == 3


def test_started_with_closed_streams(tmp_path: Path) -> None:
    """Whoever closes the streams gets the status of the answer, and no file of the store takes their place."""
    store = Making(tmp_path / "store").add(start()).close()
    words = ["search", "--limit", "1", "--store", str(store)]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *MAIN, *words], check=False)
    assert done.returncode == 0


def test_a_defect_is_no_answer() -> None:
    """An exception nobody expected ends with a status of its own: Python's, 1, would say that nothing was found."""
    script = "import anetcon.cli.main as m\nm.app = lambda **_: 1 / 0\nm.main()"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == DEFECT
    assert "ZeroDivisionError" in done.stderr


class Slow(io.RawIOBase):
    """A stream that takes a few bytes at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = b""

    def writable(self) -> bool:
        """As of a stream."""
        return True

    def write(self, data: Any) -> int:
        """Take the first of it."""
        self.taken += bytes(data[:7])
        return min(7, len(data))


def test_what_is_printed_unbuffered_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """With PYTHONUNBUFFERED, too, everything gets out that the stream does not take at once."""
    slow = Slow()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(slow, encoding="utf-8", write_through=True))  # type: ignore[type-var]
    unbuffered = sys.stdout
    unbuffered.write("x" * 100)
    assert len(slow.taken) < 100, "Python mends this itself now"
    slow.taken = b""
    main._print_whole()
    sys.stdout.write("x" * 20_000)
    sys.stdout.flush()
    assert slow.taken == b"x" * 20_000
