"""What is said of capabilities that are missing, and which of those that are there stay."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from anetcon.errors import PermissionMissingError
from anetcon.link import capabilities
from tests.support import haste


@pytest.mark.parametrize(
    ("engine", "held", "missing"),
    [
        ("conntrack", "0000000000000000", "needs CAP_NET_ADMIN and CAP_SYS_ADMIN:"),
        ("conntrack", "0000000000001000", "needs CAP_SYS_ADMIN:"),
        ("conntrack", "0000000000200000", "needs CAP_NET_ADMIN:"),
        ("nftables-log", "0000000000201000", "needs CAP_NET_RAW and CAP_SYSLOG: .* `anetcon install`"),
        ("iptables-log", "0000000400201000", "needs CAP_NET_RAW:"),
    ],
)
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, engine: str, held: str, missing: str) -> None:
    """Each capability, and where the service gets them from."""
    monkeypatch.setattr(Path, "read_text", lambda _: f"Name:\tx\nCapEff:\t{held}\n")
    with pytest.raises(PermissionMissingError, match=missing):
        capabilities.require(engine)


@pytest.mark.parametrize(("engine", "held"), [("conntrack", "0000000000201000"), ("iptables-log", "0000000400203000")])
def test_enough_is_enough(monkeypatch: pytest.MonkeyPatch, engine: str, held: str) -> None:
    """No more than what is needed is asked for."""
    monkeypatch.setattr(Path, "read_text", lambda _: f"CapEff:\t{held}\n")
    capabilities.require(engine)


BECOME = """
import os, sys
from pathlib import Path
from anetcon.errors import PermissionMissingError
from anetcon.link import capabilities
try:
    capabilities.become(Path(sys.argv[1]), sys.argv[2])
except PermissionMissingError as error:
    print(error)
    sys.exit()
said = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(os.geteuid(), *(f"{int(said[name], 16):x}" for name in ("CapPrm", "CapEff", "CapAmb")), said["NoNewPrivs"])
"""

FEW = ("setpriv", "--bounding-set=-all,+sys_admin,+net_admin", "--inh-caps=-all")


def became(store: Path, engine: str = "conntrack", *within: str) -> str:
    """What a process is that became who owns the store: its user, its capabilities, and whether it can gain any."""
    words = [*within, sys.executable, "-c", BECOME, str(store), engine]
    return subprocess.run(words, check=True, capture_output=True, text=True, cwd="/").stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to give up")
def test_root_becomes_who_owns_the_store(tmp_path: Path) -> None:
    """With what the engine needs and nothing else, but CAP_SYS_NICE where a limit cannot take its place; a store that
    is not there yet is root's."""
    few, log = f"{0x201000 | haste.needed():x}", f"{0x400203000 | haste.needed():x}"
    assert became(tmp_path) == f"0 {few} {few} {few} 1"
    assert became(tmp_path / "missing", "nftables-log") == f"0 {log} {log} {log} 1"
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(tmp_path, nobody, -1)
    assert became(tmp_path) == f"{nobody} {few} {few} {few} 1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to give up")
def test_a_root_that_may_not_become_anybody(tmp_path: Path) -> None:
    """In a container with two capabilities it stays root for a store of root's, and refuses another's."""
    assert became(tmp_path, "conntrack", *FEW) == "0 201000 201000 201000 1"
    os.chown(tmp_path, pwd.getpwnam("nobody").pw_uid, -1)
    assert f"the store {tmp_path} belongs to user" in became(tmp_path, "conntrack", *FEW)
