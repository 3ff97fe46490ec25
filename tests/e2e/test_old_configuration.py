"""A site's old /etc/anetcon.conf starts the daemon, and everything is where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.testbed import traffic
from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Server
from tests.load import kernel
from tests.support.daemon import Daemon
from tests.support.rooms import belongs_to
from tests.support.waiting import wait_until

pytestmark = [
    belongs_to("config.old"),
    pytest.mark.needs("iptables", "nft"),
    pytest.mark.timeout(300),  # others may hold the machine's switch
]

OLD = """\
# DEBUG=true
NAMESPACES=( "^{start}.*$" )
#NETS=( "qrouter-a4fadad3-e529-4329-a086-010b84363596" "10.0.0.0/8 192.168.1.1/24" )
PERIOD=30
# CHAIN_NAME=anetcon
# LOG_PREFIX="[ANETCON]"
LOG_NAMESPACE_HASH=true
NAMESPACE_HASH_FILE={folder}/namespace.hash
LOGFILE={folder}/anetcon.log
"""


@pytest.fixture
def world() -> Iterator[World]:
    """Beyond the routers, with the kernel told to log for all of them."""
    with kernel.log_all_netns(), Testbed() as bed:
        yield World(bed)


def test_the_old_file_starts_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """The rules are the readme's, TCP alone is recorded, hash file and text logs are as before, none stays."""
    router = Router(world, instances=2, floating=[1])
    name, shown = router.name, router.namespace
    plain, floating = router.instances
    daemon = Daemon(tmp_path, [name])
    daemon.settings = tmp_path / "anetcon.conf"
    daemon.settings.write_text(OLD.format(start=name, folder=tmp_path))
    monkeypatch.setenv("ANETCON_STORE_PATH", str(daemon.store))
    monkeypatch.setenv("ANETCON_LOGS_DIR", str(daemon.logs))
    before = shown.run("iptables", "-t", "nat", "-S")
    hashed = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8]
    daemon.run()
    try:
        daemon.wait_attached([name])
        rules = shown.run("iptables", "-t", "nat", "-S").splitlines()
        match = "-A anetcon -p tcp -m tcp -m state --state NEW -m conntrack"
        assert [rule for rule in rules if rule.startswith("-A anetcon")] == [
            f'{match} --ctstate DNAT -j LOG --log-prefix "[ANETCON][D][{hashed}] "',
            f'{match} ! --ctstate DNAT -j LOG --log-prefix "[ANETCON][X][{hashed}] "',
        ]
        assert next(rule for rule in rules if rule.startswith("-A POSTROUTING")) == "-A POSTROUTING -j anetcon"
        with Server(world.namespace, SERVER, 8080) as server:
            made = traffic.tcp(plain.namespace, plain.address, (SERVER, 8080), server)
            traffic.udp(plain.namespace, plain.address, (SERVER, 8080), server)
        public = router.floating_ips[floating.address]
        with Server(floating.namespace, floating.address, 2222) as service:
            called = traffic.tcp(world.namespace, SERVER, (public, 2222), service)
        wait_until(lambda: daemon.lines("nat") and daemon.lines("float"), 20, f"text logs; {daemon.errors()}")
    finally:
        status = daemon.stop()
    assert status == 0, daemon.errors()
    assert [(r["class"], r["src_port"], r["origin"]) for r in daemon.search("--proto", "tcp")] == [
        ("nat", made.src_port, "log"),
        ("float", called.src_port, "log"),
    ]
    assert daemon.search("--proto", "udp") == [], "the old program knew TCP alone"
    assert f"[ANETCON][X][{hashed}] " in daemon.lines("nat")[0]
    assert f"[ANETCON][D][{hashed}] " in daemon.lines("float")[0]
    assert (tmp_path / "namespace.hash").read_text() == f"{name} [{hashed}]\n"
    assert shown.run("iptables", "-t", "nat", "-S") == before
