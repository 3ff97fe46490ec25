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
