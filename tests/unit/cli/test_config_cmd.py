"""What holds and why, and whether a file can be used."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.cli import config_cmd
from anetcon.config import load
from anetcon.config.load import SETTINGS
from anetcon.link import capabilities
from tests.support.asking import Answer
from tests.support.rooms import belongs_to
from tests.support.waiting import wait_until


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


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A process with the options of one, whose store it is; that store."""
    store = tmp_path / "its own"
    store.mkdir()
    words = [sys.executable, "-c", "input()", "--resolver", "x", "--", "--store", str(store)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process, (store / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setenv("MAINPID", str(process.pid))
        monkeypatch.setattr(capabilities, "needed", lambda _: {})  # a test may be run without any
        wait_until(lambda: b"--resolver" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), 30, "it runs")
        yield store


def test_check_for_a_daemon_that_runs(file: Path, tmp_path: Path, daemon: Path) -> None:
    """A reload is refused where its daemon has another store, as its lock says. One with options of its own is asked
    about with these; one that had no room to write its number is not refused for that."""
    file.write_text(f'[store]\npath = "{tmp_path}"\n')
    lock = daemon / "lock"
    answers = []
    for content in ("", f"{os.environ['MAINPID']}\n", "1\n"):
        lock.write_text(content)
        answers.append((Answer("config", "check").status, Answer("config", "check", "-c", file).status))
    assert answers == [(0, 5), (0, 5), (5, 5)]
    assert "restart it to move it" in Answer("config", "check", "-c", file).err


def test_check_for_a_daemon_of_another_file(
    file: Path, tmp_path: Path, daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload is refused where a restart would use another file than the one that the daemon reads again, or none:
    nothing of it would hold. Not where the daemon, having options of its own, looks for one each time."""
    process = os.environ["MAINPID"]
    (daemon / "lock").write_text(process)
    monkeypatch.setenv("ANETCON_STORE_PATH", str(daemon))
    monkeypatch.setattr(load, "STANDARD_FILES", (tmp_path / "new.toml", file))
    said = {"pid": int(process), "settings_file": str(file)}
    (daemon / "status.json").write_text(json.dumps(said))
    (tmp_path / "new.toml").touch()
    assert Answer("config", "check").status == 0
    monkeypatch.setattr(config_cmd, "_given_to", lambda _: [])
    answer = Answer("config", "check")
    assert (answer.status, answer.err.count("\n"), f"reads {file}: restart it to have it use" in answer.err) == (
        5,
        1,
        True,
    )
    (tmp_path / "new.toml").unlink()
    (tmp_path / "new.toml").symlink_to(file)
    assert Answer("config", "check").status == 0
    (tmp_path / "new.toml").unlink()
    assert Answer("config", "check").status == 0
    file.unlink()
    assert "restart it to have it use the default configuration" in Answer("config", "check").err
    for content in ("", json.dumps(said | {"settings_file": None}), json.dumps(said | {"pid": 1})):
        (daemon / "status.json").write_text(content)
        assert Answer("config", "check").status == 0


def test_a_file_that_only_others_may_read(file: Path) -> None:
    """One sentence that says who may, and how it becomes readable; as the daemon's service, which is not root."""
    file.chmod(0)
    few = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    program = Path(sys.executable).with_name("anetcon")
    done = subprocess.run([*few, program, "config", "check", "-c", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert "`chgrp adm`, `chmod 640`" in done.stderr


@belongs_to("config.old")
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


@belongs_to("config.old")
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
    assert (answer.status, answer.err) == (
        5,
        f"anetcon: {old}:2: this line runs `$(cat /x)`; replace it with its output\n",
    )
