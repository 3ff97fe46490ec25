"""The keeper as a container runs it: root with two capabilities, and mounts of its own."""

from __future__ import annotations

import grp
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.testbed.bed import Testbed
from tests.support.keeper_daemon import Daemon, ours
from tests.support.waiting import wait_until

CAPABILITIES = ["--bounding-set=-all,+sys_admin,+net_admin", "--inh-caps=-all"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A keeper that audits our own namespaces alone, not started yet."""
    keeper = Daemon(tmp_path, [ours()])
    yield keeper
    keeper.close()


def confined(propagation: str) -> list[str]:
    """What runs a program as a container does whose group is that of the readers."""
    mounts = ["unshare", "--mount", "--propagation", propagation]
    return [*mounts, "setpriv", "--regid=adm", "--clear-groups", *CAPABILITIES]


def test_two_capabilities_and_mounts_that_propagate(daemon: Daemon, bed: Testbed) -> None:
    """That is enough: a namespace made later is audited, and the group of readers can read."""
    daemon.within = confined("slave")
    daemon.run()
    later = bed.namespace("later")
    daemon.wait_heard("attach", netns=later.name)
    assert later.run("cat", "/proc/sys/net/netfilter/nf_conntrack_acct") == "1\n"
    wait_until((daemon.store / "status.json").exists, 5, "status.json is written")
    readers = grp.getgrnam("adm").gr_gid
    written = [path for path in daemon.store.iterdir() if path.suffix != ".new"]  # which are gone in a moment
    assert {path.stat().st_gid for path in written} == {readers}
    assert "Traceback" not in daemon.log()


def test_another_engine_that_needs_more(daemon: Daemon) -> None:
    """Neither reload nor replacement makes it a daemon that cannot run: it goes on, and says what it lacks."""
    daemon.within = confined("slave")
    daemon.run()
    daemon.reload(engine="nftables-log")
    said = "nftables-log needs CAP_NET_RAW and CAP_SYSLOG"
    wait_until(lambda: daemon.log().count(said) == 1, 10, "the reload is refused")
    os.kill(daemon.pid, signal.SIGUSR2)
    wait_until(lambda: daemon.log().count(said) == 2, 10, "the replacement is refused")
    assert len(daemon.heard("started")) == 1
    assert daemon.stop() == 0


def test_mounts_that_do_not_propagate(daemon: Daemon, bed: Testbed) -> None:
    """A name that stays a plain file for it is told, and not audited."""
    daemon.within = confined("private")
    daemon.run()
    later = bed.namespace("later")
    wait_until(lambda: f"{later.name} is no network namespace as seen from here" in daemon.log(), 5, "it is told")
    assert not daemon.heard("attach", netns=later.name)


def test_a_folder_that_it_may_not_read(daemon: Daemon, tmp_path: Path) -> None:
    """As Docker's, which comes when Docker starts: the daemon ends with a sentence rather than be blind."""
    folder = tmp_path / "docker" / "netns"
    daemon.settings["audit"]["netns_dir"] = str(folder)
    daemon.within = confined("slave")
    process = daemon.run().process
    assert process
    folder.parent.mkdir()
    folder.mkdir(mode=0o0)
    wait_until(lambda: process.poll() is not None, 10, "it has ended")
    assert f"cannot list {folder}: Permission denied; the daemon has to be able to read it" in daemon.log()
    assert "Traceback" not in daemon.log()
