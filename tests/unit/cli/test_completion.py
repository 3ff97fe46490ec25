"""What shells complete."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from anetcon.cli.completion import scripts
from anetcon.cli.described import described
from anetcon.cli.main import COMMANDS

ASK = """
. "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
compopt() { :; }
_anetcon
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The text for bash."""
    file = tmp_path_factory.mktemp("completion") / "anetcon"
    file.write_text(scripts(described())["bash"])
    return file


def complete(script: Path, *words: str) -> list[str]:
    """What bash would offer for the last of these words."""
    done = subprocess.run(
        ["bash", "-uc", ASK, "bash", str(script), "anetcon", *words], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_and_values(bash: Path) -> None:
    """The next word, whatever it is: a command, an option of it, one of the values it takes, a folder."""
    assert {*COMMANDS} < {*complete(bash, "")}
    assert complete(bash, "st") == ["status"]
    assert complete(bash, "config", "") == ["show", "check", "migrate", "rsyslog", "logrotate", "--help"]
    assert "--within" in complete(bash, "who", "203.0.113.7", "--")
    assert complete(bash, "search", "--format", "js") == ["json", "jsonl"]
    assert complete(bash, "search", "--format", "=", "c") == ["csv"]
    assert complete(bash, "search", "--class", "") == ["nat", "float", "local"]
    assert complete(bash, "run", "--engine", "n") == ["nftables-log"]
    assert "default" in complete(bash, "doctor", "")
    assert complete(bash, "status", "--store", "/us") == ["/usr"]
    assert complete(bash, "run", "--config", "") == [], "readline itself completes files"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_theirs(shell: str, tmp_path: Path) -> None:
    """Their own check of the syntax passes; every command is there."""
    text = scripts(described())[shell]
    assert all(name in text for name in COMMANDS)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    (tmp_path / "file").write_text(text)
    subprocess.run([shell, "-n", str(tmp_path / "file")], check=True)
