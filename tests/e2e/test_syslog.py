"""A real rsyslogd and a real logrotate, on files of their own: lines land in the right file, and rotation loses none.

imklog reads a pipe of ours instead of the kernel's log: what it is given there is what the kernel would print.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.config.load import load
from anetcon.config.model import Config, LogSettings, StoreSettings
from anetcon.config.rsyslog import rsyslog_text
from anetcon.testbed import traffic
from anetcon.testbed.topology import SERVER, Router, World
from tests.e2e.conftest import Start
from tests.load import kernel
from tests.load.flood import Flood
from tests.support.asking import Answer
from tests.support.machine import PATH
from tests.support.rotation import Rotation, texts
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(120)

LINES = 20_000
TURNS = 5
FLOOD = 25_000


class Rsyslog:
    """An rsyslogd that knows our file, and puts all else into `rest`."""

    def __init__(self, folder: Path, logs: LogSettings) -> None:
        self.rest, self.pid_file, self._kernel = folder / "rest.log", folder / "pid", folder / "kernel"
        os.mkfifo(self._kernel)
        self.settings = folder / "rsyslog.conf"
        self.settings.write_text(
            f'global(workDirectory="{folder}")\nmodule(load="imklog" logpath="{self._kernel}")\n'
            f'{rsyslog_text(logs, "adm")}action(type="omfile" file="{self.rest}")\n'
        )
        checked = self.run("-N1")
        assert (checked.returncode, "error" in checked.stderr) == (0, False), checked.stderr
        self._write = os.open(self._kernel, os.O_RDWR)
        words = ["rsyslogd", "-n", "-f", str(self.settings), "-i", str(self.pid_file)]
        self.process = subprocess.Popen(words, env={"PATH": PATH}, stderr=subprocess.DEVNULL)
        wait_until(self.pid_file.exists, 10, "rsyslogd runs")

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """rsyslogd itself, once."""
        words = ["rsyslogd", *options, "-f", str(self.settings)]
        return subprocess.run(words, env={"PATH": PATH}, capture_output=True, text=True, check=False, timeout=30)

    def print(self, *lines: str) -> None:
        """Let the kernel say this."""
        os.write(self._write, "".join(f"<4>{line}\n" for line in lines).encode())

    def close(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)
        os.close(self._write)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of the text logs; umask is as a daemon's."""
    before = os.umask(0o022)
    yield tmp_path / "log"
    os.umask(before)


@pytest.mark.needs("rsyslogd")
@pytest.mark.parametrize("prefix", ["[ANETCON]", 'a"b$^*\\.', "x y(|"])
def test_lines_land_in_the_right_file(tmp_path: Path, folder: Path, prefix: str) -> None:
    """Each of our lines is in its file, 0640 and of group adm, and in no other; whatever else the kernel says is in
    neither, though it has our prefix in it."""
    logs = LogSettings(dir=str(folder), prefix=prefix)
    rsyslog = Rsyslog(tmp_path, logs)
    try:
        rsyslog.print(f"{prefix}[X][01234567] IN= OUT=a SRC=1", f"[  12.345678] {prefix}[X] IN= OUT=a SRC=2")
        rsyslog.print(f"{prefix}[D][01234567] IN= OUT={prefix}[X] IN= SRC=3", f"{prefix}[X][0123456] IN= SRC=4")
        rsyslog.print(f"other: {prefix}[X] IN= SRC=5", f"{prefix}[Y] IN= SRC=6", "the last SRC=7")
        wait_until(lambda: rsyslog.rest.exists() and "SRC=7" in rsyslog.rest.read_text(), 10, "all is written")
    finally:
        rsyslog.close()
    files = (folder / "anetcon.nat.log", folder / "anetcon.float.log", rsyslog.rest)
    found = [[line.rpartition("=")[2] for line in file.read_text().splitlines() if "SRC=" in line] for file in files]
    assert found == [["1", "2"], ["3"], ["4", "5", "6", "7"]]
    assert {(file.stat().st_mode & 0o777, file.group()) for file in files[:2]} == {(0o640, "adm")}


@pytest.mark.needs("rsyslogd", "logrotate")
def test_rotation_of_what_rsyslog_writes_loses_no_line(tmp_path: Path, folder: Path) -> None:
    """Twenty thousand lines over five rotations are in the files, each once."""
    config = Config(logs=LogSettings(dir=str(folder)), store=StoreSettings(path=str(tmp_path / "store")))
    rsyslog = Rsyslog(tmp_path, config.logs)
    rotation = Rotation(tmp_path, config, f"kill -HUP {rsyslog.process.pid}")
    written = folder / "anetcon.nat.log"
    try:
        for begin in range(0, LINES, 100):
            rsyslog.print(*(f"[ANETCON][X][01234567] IN= OUT=a SRC={n}" for n in range(begin, begin + 100)))
            if begin % (LINES // TURNS) == LINES // TURNS // 2:
                wait_until(lambda: written.exists() and written.stat().st_size, 20, "there is something to rotate")
                rotation.rotate()
        wait_until(lambda: len(texts(folder, "anetcon.nat.log")) >= LINES, 30, "all lines", every=0.2)
    finally:
        rsyslog.close()
    said = [int(line.rpartition("=")[2]) for line in texts(folder, "anetcon.nat.log")]
    assert sorted(said) == list(range(LINES))
    assert len(list(folder.glob("anetcon.nat.log.*"))) == TURNS


@pytest.mark.needs("logrotate")
def test_rotation_of_what_the_daemon_writes_loses_no_line(daemon: Start, world: World, tmp_path: Path) -> None:
    """Connections made over five rotations have a line each in the files, and its own log is rotated with them."""
    router = Router(world, plain=True)
    own = tmp_path / "log" / "anetcon.log"
    auditor = daemon(router.name, logs={"file": str(own)})
    auditor.wait_attached([router.name])
    rotation = Rotation(tmp_path, load(auditor.settings).config)
    written = auditor.logs / "anetcon.nat.log"
    with Flood(router, FLOOD) as flood:
        for turn in range(TURNS):
            flood.send(turn * FLOOD // TURNS, (turn + 1) * FLOOD // TURNS)
            wait_until(lambda: written.exists() and written.stat().st_size, 20, "lines are written", every=0.001)
            rotation.rotate()
        made = flood.made()
        auditor.wait_recorded(lambda totals: totals["ends"] >= made)
    wait_until(lambda: own.exists() and "is applied" in own.read_text(), 20, "the last reload is told")
    wait_until(
        lambda: {gap["cause"] for gap in auditor.gaps("--netns", router.name)} <= {"never-recorded"},
        20,
        "no gap is left: starts that were dropped in hold are found by a listing",
        every=0.2,
    )
    assert auditor.stop() == 0, auditor.errors()
    said = texts(auditor.logs, "anetcon.nat.log")
    assert (made, len(said), len(set(said))) == (FLOOD, FLOOD, FLOOD)
    assert len(list(auditor.logs.glob("anetcon.nat.log.*"))) == TURNS


@pytest.mark.needs("logrotate")
def test_a_process_that_is_no_daemon_gets_no_signal(tmp_path: Path, folder: Path) -> None:
    """A lock whose owner is gone names a process that may be anybody by now."""
    config = Config(logs=LogSettings(dir=str(folder)), store=StoreSettings(path=str(tmp_path)))
    folder.mkdir()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        (tmp_path / "lock").write_text(f"{other.pid}\n")
        (folder / "anetcon.nat.log").write_text("a line\n")
        Rotation(tmp_path, config).rotate()
        assert (folder / "anetcon.nat.log.1").exists()
        assert other.poll() is None
        assert other.stdin is not None
        other.stdin.close()
        assert other.wait(10) == 0


def test_the_commands_print_them(tmp_path: Path) -> None:
    """`config rsyslog` and `config logrotate` print both files for the configuration given."""
    (tmp_path / "a.toml").write_text('[logs]\ndir = "/srv/log"\nprefix = "P"\n[store]\npath = "/srv/store"\n')
    assert 'file="/srv/log/anetcon.float.log"' in Answer("config", "rsyslog", "-c", tmp_path / "a.toml").out
    said = Answer("config", "logrotate", "-c", tmp_path / "a.toml", "-l", "/srv/own.log").out
    assert '"/srv/log/anetcon.nat.log" "/srv/log/anetcon.float.log" "/srv/own.log" {' in said
    assert "cat /srv/store/lock" in said


@pytest.mark.needs("nft")
def test_the_text_logs_are_left_to_rsyslog(daemon: Start, world: World) -> None:
    """With rsyslog as the writer the daemon records, keeps the hash file, and leaves both text logs alone; it says so
    once."""
    with kernel.log_all_netns():
        router = Router(world, instances=1, plain=True)
        auditor = daemon(router.name, audit={"engine": "nftables-log"}, logs={"writer": "rsyslog"})
        auditor.wait_attached([router.name])
        inside = router.instances[0]
        with traffic.Server(world.namespace, SERVER, 8080) as server:
            traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server, by="reset")
            listed = auditor.store / "namespace.hash"
            wait_until(lambda: listed.exists() and router.name in listed.read_text(), 20, "it is in the hash file")
        assert auditor.stop() == 0, auditor.errors()
        assert [path.name for path in auditor.logs.glob("*.log")] == []
        assert auditor.errors().count("rsyslog writes anetcon.nat.log and anetcon.float.log") == 1
