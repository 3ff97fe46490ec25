"""What shells complete: each is asked, with its own machinery of completion."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from anetcon import bash
from anetcon.cli.main import COMMANDS
from tools.completion import scripts
from tools.described import described

BASH = """
. "$1/anetcon"; shift
compopt() { :; }
for line; do
    IFS=' ' read -ra COMP_WORDS <<<"${line//=/ = }"
    [[ $line != *' ' ]] || COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    _anetcon
    printf '%s\\n' "${COMPREPLY[@]}"
    printf '\\f'
done
"""
FISH = """
source $argv[1]/anetcon.fish
for line in $argv[2..]; complete --do-complete $line | cut -f 1; printf '\\f'; end
"""
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "source $1/inside.zsh $1"
for line in "${@[2,-1]}"; do
    zpty -r -m shell said '*@next@*'
    zpty -w -n shell $'\\x15'"$line"$'\\t'
done
zpty -r -m shell said '*@next@*'
zpty -d shell
cat $1/offered
"""
ZSH_INSIDE = """
PROMPT= fpath=($1 $fpath)
setopt no_auto_list no_beep
autoload -U compinit && compinit -u -D
exec 3>$1/offered
compadd() {
    local -a found
    if [[ -z ${argv[(r)-[OAD]]} ]]; then
        builtin compadd -A found "$@"
        ((! $#found)) || print -rl -- $found >&3
    fi
    builtin compadd "$@"
}
ask() { _main_complete; print -n '\\f' >&3; print @next@; }
zle -C ask complete-word ask
bindkey '^I' ask
print @next@
"""
"""Only a line editor completes: this one runs on a terminal of its own, where ^U empties the line and the tab asks."""

SHELLS: dict[str, tuple[str, ...]] = {
    "bash": ("bash", "-uc", BASH, "bash"),
    "zsh": ("zsh", "-fc", ZSH, "zsh"),
    "fish": ("fish", "--no-config", "-c", FISH),
}
NAMES = {"bash": "anetcon", "zsh": "_anetcon", "fish": "anetcon.fish"}

Ask = Callable[..., list[set[str]]]


@pytest.fixture(params=SHELLS)
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Ask:
    """What a shell offers at the end of each line; of paths the last part, of `--option=value` the value."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    (tmp_path / NAMES[shell]).write_text(scripts(described())[shell])
    (tmp_path / "inside.zsh").write_text(ZSH_INSIDE)

    def asked(*lines: str) -> list[set[str]]:
        done = subprocess.run(
            [*SHELLS[shell], str(tmp_path), *lines],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TERM": "dumb", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert done.stderr == ""
        *blocks, last = done.stdout.split("\f")
        assert (len(blocks), last) == (len(lines), "")
        return [{word.rpartition("=")[2].rstrip("/").rpartition("/")[2] for word in each.split()} for each in blocks]

    return asked


def test_commands_options_and_values(ask: Ask, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The next word, whatever it is: a command, an option of it, one of the values it takes, a folder, a file."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "settings.toml").touch()
    (tmp_path / "here" / "store").mkdir()
    expected = {
        "anetcon st": {"status"},
        "anetcon config ch": {"check"},
        "anetcon who 203.0.113.7 --wi": {"--within"},
        "anetcon config show --conf": {"--config"},
        "anetcon search --format js": {"json", "jsonl"},
        "anetcon search --format=c": {"csv"},
        "anetcon search --class ": {"nat", "float", "local"},
        "anetcon run --engine n": {"nftables-log"},
        "anetcon doctor defaul": {"default"},
        "anetcon search --netns defaul": {"default"},
        f"anetcon status --store {tmp_path}/here/s": {"store"},
        f"anetcon run --config {tmp_path}/here/set": {"settings.toml"},
    }
    if "import" in COMMANDS:
        expected[f"anetcon import {tmp_path}/here/set"] = {"settings.toml"}
    if "bash" in request.node.name:  # readline itself completes files where nothing is offered
        expected |= {line: set() for line in expected if line.endswith("/set")}
    commands, inner, *found = ask("anetcon ", "anetcon config ", *expected)
    assert dict(zip(expected, found, strict=True)) == expected
    assert {word for word in commands if word[0] != "-"} == {*COMMANDS}
    assert {word for word in inner if word[0] != "-"} == {"show", "check", "rsyslog", "logrotate"} | (
        {"migrate"} if bash.has("config.old") else set()
    )
