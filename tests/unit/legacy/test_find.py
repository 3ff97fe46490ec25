"""What is told to be the bash ANetCon, and what is not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.legacy import find
from anetcon.legacy.find import Running
from tests.support.waiting import wait_until

DATA = Path(__file__).parents[2] / "data" / "bash-anetcon"
NO_PROCESSES = DATA / "etc"
SCRIPT = "#!/bin/bash\nread -r line\nexit 0\n"


@pytest.mark.parametrize(
    "words",
    [
        ["bash", "/usr/sbin/anetcon.sh"],
        ["/bin/bash", "/opt/somewhere else/anetcon.sh", "-c", "/etc/other.conf"],
        ["sh", "-x", "anetcon.sh"],
        ["bash", "-euo", "pipefail", "--norc", "./anetcon.sh"],
        ["/usr/bin/dash", "--", "anetcon.sh"],
        ["/usr/sbin/anetcon.sh"],
    ],
)
def test_a_shell_that_executes_the_script(words: list[str]) -> None:
    """Whatever the shell, its options and the folder."""
    assert find.executes(words)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["bash"],
        ["-bash"],
        ["bash", "-c", "grep -r x anetcon.sh"],
        ["bash", "-ec", "anetcon.sh"],
        ["vim", "/usr/sbin/anetcon.sh"],
        ["grep", "anetcon.sh"],
        ["tail", "-f", "/var/log/anetcon/anetcon.log"],
        ["bash", "deploy.sh", "/usr/sbin/anetcon.sh"],
        ["anetcon-keeper"],
        ["/opt/anetcon/bin/python3", "-m", "anetcon.keeper.main", "--settings", "3"],
        ["/opt/anetcon/bin/python3", "/opt/anetcon/bin/anetcon", "run"],
        ["ip", "netns", "exec", "qrouter-1", "iptables", "-t", "nat", "-S", "anetcon"],
    ],
)
def test_others_are_not_it(words: list[str]) -> None:
    """An editor, a search, a shell with another script, and our own daemon are none."""
    assert not find.executes(words)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_command_line_is_read(words: list[str]) -> None:
    """No command line is too strange to be told what it is not."""
    assert isinstance(find.executes(words), bool)
    assert isinstance(Running(1, tuple(words)).configuration, Path)


def test_which_configuration_it_reads() -> None:
    """The one it is told by -c, from where it runs; else its own."""
    assert Running(1, ("bash", "/usr/sbin/anetcon.sh")).configuration == Path("/etc/anetcon.conf")
    given = Running(1, ("bash", "-x", "/usr/sbin/anetcon.sh", "-v", "-c", "a.conf"), folder="/srv")
    assert given.configuration == Path("/srv/a.conf")


def test_an_installation_is_found_by_its_files(tmp_path: Path) -> None:
    """Unit, drop-ins, both files that speak of its logs, configuration; those of others, and ours, are not taken."""
    shutil.copytree(DATA, tmp_path, dirs_exist_ok=True)
    (tmp_path / "etc/anetcon.conf").write_text("NAMESPACES=()\n")
    (tmp_path / "etc/systemd/system/anetcon.service.d").mkdir()
    (tmp_path / "etc/systemd/system/anetcon.service.d/nice.conf").write_text("[Service]\nNice=5\n")
    (tmp_path / "etc/rsyslog.d/60-siem.conf").write_text(':msg, contains, "[ANETCON]" @@192.0.2.1\n')
    (tmp_path / "etc/logrotate.d/rsyslog").write_text("/var/log/syslog\n{\n}\n")
    found = find.find(tmp_path, NO_PROCESSES)
    assert found
    assert [str(path) for path in found.files] == [
        "/etc/systemd/system/anetcon.service",
        "/etc/systemd/system/anetcon.service.d/nice.conf",
        "/etc/rsyslog.d/30-anetcon.conf",
        "/etc/logrotate.d/anetcon",
    ]
    assert found.configuration == Path("/etc/anetcon.conf")
    other = Path("/etc/systemd/system/audit.service")
    running = Running(1, ("bash", "anetcon.sh"), other.name, unit_file=other)
    assert find.Old(running=(running, running)).files == (other,), "one of another name is known again by its copy"


@pytest.mark.parametrize("start", ["/usr/local/bin/anetcon run", "/usr/bin/env sleep 1", "'"])
def test_a_unit_of_ours_is_none(tmp_path: Path, start: str) -> None:
    """A unit of that name that starts no shell script is not the old one; pip's script may begin like one."""
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/anetcon.service").write_text(f"[Service]\nExecStart={start}\n")
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    (tmp_path / "usr/local/bin/anetcon").write_text("#!/bin/sh\n'''exec' python3\n")
    assert not find.find(tmp_path, NO_PROCESSES)


@pytest.fixture
def script(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One that runs, with a name that only this test has."""
    (tmp_path / "anetcon.sh").write_text(SCRIPT)
    with subprocess.Popen(["bash", str(tmp_path / "anetcon.sh")], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_one_that_runs_is_found(script: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """It is found among the processes; no unit started it."""
    found = wait_until(
        lambda: [each for each in find.find(tmp_path).running if each.pid == script.pid], 30, "it is found"
    )
    assert found == [Running(script.pid, ("bash", str(tmp_path / "anetcon.sh")), "", str(Path.cwd()))]


@pytest.mark.needs("root")
def test_one_in_a_container_is_somebody_elses(tmp_path: Path) -> None:
    """A process in a PID namespace of its own is told apart."""
    (tmp_path / "anetcon.sh").write_text(SCRIPT)
    words = ["unshare", "--pid", "--fork", "--kill-child", "bash", str(tmp_path / "anetcon.sh")]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            inside = int(wait_until(lambda: children.read_text().strip(), 30, "it runs"))
            found = wait_until(lambda: inside in find.find(tmp_path).elsewhere, 30, "it is found")
            assert found
            assert inside not in {each.pid for each in find.find(tmp_path).running}
        finally:
            process.kill()
