"""LOG rules where a machine is not as most are: a daemon in a namespace of its own, and machines without IPv6."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anetcon.testbed.bed import Namespace, Testbed
from tests.load import kernel
from tests.support.keeper_daemon import Daemon, ours
from tests.support.logging_rules import anything, connect, kmsg, missing, nat, readme, table, wait_logged
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.needs("nft", "iptables"), pytest.mark.timeout(200)]  # others may hold the machine's switch
ENGINES = ["iptables-log", "nftables-log"]


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """The kernel's one switch is ours for the time of the test, off as the kernel has it."""
    with kernel.log_all_netns(0):
        yield


@pytest.fixture
def first_netns() -> Iterator[str]:
    """Leads to the machine's first network namespace, wherever our thread is just now."""
    with Path("/proc/thread-self/ns/net").open("rb") as ours:
        yield f"/proc/{os.getpid()}/fd/{ours.fileno()}"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Makes keepers, not started yet."""
    made: list[Daemon] = []

    def one(engine: str, *names: str, **audit: object) -> Daemon:
        made.append(Daemon(tmp_path, list(names) or [ours()], engine=engine, **audit))
        return made[-1]

    yield one
    for daemon in made:
        daemon.close()


def bare(bed: Testbed, role: str) -> Namespace:
    """A namespace without any rule."""
    made = bed.namespace(role)
    made.run("ip", "link", "set", "lo", "up")
    return made


@pytest.mark.parametrize("engine", ENGINES)
def test_a_daemon_in_a_namespace_of_its_own(
    make: Callable[..., Daemon], bed: Testbed, first_netns: str, engine: str
) -> None:
    """The machine's switch is set, watched and put back from there; `default` is that namespace and has no hash."""
    host, router = bare(bed, "host"), bare(bed, "r")
    daemon = make(engine, "default", f"^{router.name}$", period=0.3)
    daemon.home, daemon.module = host, "tests.support.keeper_elsewhere"
    daemon.environment["FIRST_NETNS"] = first_netns
    daemon.run()
    for name in ("default", router.name):
        daemon.wait_heard("attach", netns=name)
    assert kernel.LOG_ALL_NETNS.read_text() == "1\n"
    with kmsg() as log:
        connect(host, 21000)
        line = wait_until(lambda: [each for each in log.read() if "DPT=21000 " in each], 2, "a line of default")
        assert [each.split("IN=")[0] for each in line] == ["[ANETCON][X] "]
        assert wait_logged(log, router, itertools.count(21001)) == 1
    kernel.LOG_ALL_NETNS.write_text("0")
    wait_until(lambda: kernel.LOG_ALL_NETNS.read_text() == "1\n", 3, "it is on again")
    for name in ("default", router.name):
        wait_until(lambda name=name: missing(daemon.heard("gap"), name), 2, f"a gap of {name}")  # type: ignore[misc]
    daemon.close()
    assert anything(host)
    assert kernel.LOG_ALL_NETNS.read_text() == "1\n"
    daemon.run()
    daemon.wait_attached("default")
    assert daemon.stop() == 0, daemon.log()
    assert anything(host) == anything(router) == []
    assert kernel.LOG_ALL_NETNS.read_text() == "0\n"


@pytest.mark.parametrize("engine", ENGINES)
def test_ipv6_switched_off(make: Callable[..., Daemon], bed: Testbed, engine: str) -> None:
    """A namespace whose IPv6 is switched off has its rules like any other, and comes back clean."""
    router = bare(bed, "r")
    router.sysctl(ipv6__conf__all__disable_ipv6=1)
    daemon = make(engine).run()
    daemon.wait_heard("attach", netns=router.name)
    with kmsg() as log:
        assert wait_logged(log, router, itertools.count(21000)) == 1
    assert nat(router) == readme(router.name, "") if engine == ENGINES[0] else table(router)
    assert daemon.stop() == 0
    assert anything(router) == []


def without(folder: Path, start: str) -> list[str]:
    """What starts a program that finds no program of iptables whose name begins so: /usr/sbin has other contents."""
    programs = folder / "sbin"
    programs.mkdir()
    for path in Path("/usr/sbin").iterdir():
        if path.name.startswith(("xtables", "ip", "nft")) and not path.name.startswith(start) and path.exists():
            shutil.copy2(path, programs / path.name, follow_symlinks=False)
    script = 'mount --bind "$0" /usr/sbin && exec "$@"'
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, str(programs)]


def test_a_machine_without_ip6tables(make: Callable[..., Daemon], bed: Testbed, tmp_path: Path) -> None:
    """IPv4 is logged, watched and tidied up; that IPv6 is not is said once, with the package that would help."""
    router = bare(bed, "r")
    daemon = make(ENGINES[0], period=0.2)
    daemon.within = without(tmp_path, "ip6tables")
    daemon.run()
    daemon.wait_heard("attach", netns=router.name)
    router.run("iptables-nft", "-t", "nat", "-F")
    wait_until(lambda: nat(router) == readme(router.name, ""), 3, f"the rules are back\n{daemon.log()}")
    assert nat(router, family=6) == []
    assert daemon.log().count("IPv6 connections are not logged") == 1, daemon.log()
    assert "install the package iptables" in daemon.log()
    assert daemon.stop() == 0
    assert anything(router) == []


def test_a_machine_without_iptables(make: Callable[..., Daemon], bed: Testbed, tmp_path: Path) -> None:
    """The namespace waits for its rules, and says which package is missing; nothing is left, nothing hangs."""
    router = bare(bed, "r")
    daemon = make(ENGINES[0], period=0.2)
    daemon.within = without(tmp_path, "ip")
    daemon.run()
    why = wait_until(lambda: daemon.namespace(router.name).get("message"), 3, "a message")
    assert "install the package iptables" in str(why)
    assert daemon.namespace(router.name)["state"] == "retrying"
    assert daemon.stop() == 0
    assert anything(router) == []
    assert kernel.LOG_ALL_NETNS.read_text() == "0\n"
