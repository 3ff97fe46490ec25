"""What holds and why, and whether a file can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.config.load import SETTINGS
from tests.unit.cli.asking import Answer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small configuration."""
    path = tmp_path / "anetcon.toml"
    path.write_text('node = "gw1"\n[audit]\nperiod = 5\nprotocols = ["tcp"]\n')
    return path


def test_show(file: Path) -> None:
    """Every setting with its value and where it came from, in every format."""
    words = ["config", "show", "-c", str(file), "--store", "/s", "-n", "^a", "-n", "default", "-p", "7.5"]
    said = Answer(*words, "--format", "json").json
    assert list(said["settings"]) == list(SETTINGS)
    assert said["settings"]["audit.period"] == {"value": 7.5, "from": "--period"}
    assert said["settings"]["audit.protocols"] == {"value": ["tcp"], "from": f"{file}:4"}
    assert said["settings"]["store.path"] == {"value": "/s", "from": "--store"}
    assert said["settings"]["audit.namespaces"] == {"value": ["^a", "default"], "from": "--namespace"}
    assert said["settings"]["logs.dir"]["from"] == "default"
    table = Answer(*words).out.splitlines()
    assert len(table) == 1 + len(SETTINGS)
    assert ["node", '"gw1"', f"{file}:1"] in [line.split() for line in table]
    assert [row["key"] for row in Answer(*words, "--format", "jsonl").lines] == list(SETTINGS)
    assert len(Answer(*words, "--format", "csv").out.splitlines()) == 1 + len(SETTINGS)


def test_what_the_daemon_gets(file: Path) -> None:
    """The JSON answer has the resolved settings: the keeper reads them again from here."""
    resolved = Answer("config", "show", "-c", file, "--format", "json").json["resolved"]
    assert (resolved["node"], resolved["audit"]["protocols"], resolved["settings_file"]) == ("gw1", [6], str(file))


def test_check(file: Path) -> None:
    """A file that can be used is said to be; one that cannot is one sentence and status 5, for show as well."""
    assert (Answer("config", "check", "-c", file).status, Answer("config", "check", "-c", file).out) == (
        0,
        f"{file} can be used\n",
    )
    file.write_text("[audit]\nperod = 5\n")
    for command in ("check", "show"):
        answer = Answer("config", command, "-c", file)
        assert (answer.status, answer.out) == (5, "")
        assert answer.err == f"anetcon: {file}:2: there is no setting audit.perod; did you mean audit.period?\n"


def test_check_for_a_daemon_that_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload is refused where its daemon has another store, as its lock says; of a daemon that is gone nothing is."""
    monkeypatch.setenv("MAINPID", "4194303")  # more than any process has
    file.write_text(f'[store]\npath = "{tmp_path}"\n')
    answer = Answer("config", "check", "-c", file)
    assert (answer.status, "restart it to move it" in answer.err) == (5, True)
    (tmp_path / "lock").write_text("4194303\n")
    assert Answer("config", "check", "-c", file).status == 0


def test_migrate(tmp_path: Path) -> None:
    """The old format comes out as TOML that means the same, on stdout or in a new file whose name says what it is."""
    old, new = tmp_path / "anetcon.conf", tmp_path / "anetcon.toml"
    old.write_text('NAMESPACES=( "^qrouter-.*$" )\nCHAIN_NAME=audit\nNETS=(qrouter-1 "10.0.0.0/8")\nPERIOD=7\n')
    printed = Answer("config", "migrate", old)
    assert printed.status == 0
    assert 'chain = "audit"' in printed.out
    written = Answer("config", "migrate", old, "--output", new)
    assert (written.status, written.out, new.read_text()) == (0, "", printed.out)
    shown = [Answer("config", "show", "-c", file, "--format", "json").json["resolved"] for file in (old, new)]
    assert [each.pop("settings_file") for each in shown] == [str(old), str(new)]
    for each in shown:
        del each["sources"]
    assert shown[0] == shown[1]


def test_migrate_that_cannot(tmp_path: Path) -> None:
    """A file that is there already stays as it is; a name that is no TOML file's and a wrong old file are refused."""
    old, new = tmp_path / "anetcon.conf", tmp_path / "anetcon.toml"
    old.write_text("NAMESPACES=( default )\n")
    new.write_text("mine")
    for output, says in ((new, "is there already"), (old, "must end with .toml"), (tmp_path / "no/a.toml", "No such")):
        answer = Answer("config", "migrate", old, "--output", output)
        assert (answer.status, answer.out) == (5, "")
        assert says in answer.err
    assert (new.read_text(), old.read_text()) == ("mine", "NAMESPACES=( default )\n")
    old.write_text("PERIOD=7\nPERIOD=$(cat /x)\n")
    answer = Answer("config", "migrate", old)
    assert (answer.status, answer.err) == (5, f"anetcon: {old}:2: would run a program: write what it prints\n")
