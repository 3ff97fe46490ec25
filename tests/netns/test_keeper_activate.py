"""A namespace in which no rule uses conntrack: the keeper makes it run when it is told to, and leaves no trace."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.link.ledger import Ledger, OwnTable
from anetcon.testbed.bed import Namespace, Testbed
from tests.support.keeper_daemon import Daemon, ours, writer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.needs("nft")
TABLE = "table inet anetcon_conntrack"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A keeper that may make conntrack run, not started yet."""
    keeper = Daemon(tmp_path, [ours()], activate_conntrack=True)
    yield keeper
    keeper.close()


@pytest.fixture
def bare(bed: Testbed) -> Namespace:
    """A namespace without any rule."""
    made = bed.namespace("bare")
    made.run("ip", "link", "set", "lo", "up")
    return made


def tracked(namespace: Namespace) -> int:
    """How many connections are tracked after one packet more."""
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", 5001))
    return int(namespace.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count"))


def test_conntrack_is_made_to_run_until_the_end(daemon: Daemon, bare: Namespace) -> None:
    """Our table makes the kernel track, is there once, and is gone when the daemon has ended."""
    assert tracked(bare) == 0
    daemon.run()
    wait_until(lambda: TABLE in bare.run("nft", "list", "ruleset"), 5, "our table is there")
    assert tracked(bare) == 1
    assert bare.run("nft", "list", "tables").count("table") == 1
    said = wait_until(lambda: daemon.namespace(bare.name).get("message"), 5, "status tells of it")
    assert "activate_conntrack" in str(said)
    assert daemon.namespace(bare.name)["state"] == "conntrack-inactive"
    assert daemon.stop() == 0
    assert bare.run("nft", "list", "tables") == ""
    assert "cannot" not in daemon.log()


def test_an_end_while_it_is_being_made_to_run(daemon: Daemon, bare: Namespace, tmp_path: Path) -> None:
    """nft is at work when the daemon is told to end: our table, which stands by then, is removed all the same."""
    slow, held = tmp_path / "slow", tmp_path / "held"
    slow.mkdir()
    os.mkfifo(held)
    program = slow / "nft"
    program.write_text(f'#!/bin/sh\nPATH={os.environ["PATH"]}:/usr/sbin\nnft "$@"\ncat {held}\n')
    program.chmod(0o755)
    daemon.environment["PATH"] = f"{slow}:{os.environ['PATH']}"
    daemon.run()
    released = wait_until(lambda: writer(held), 5, "nft has done its work")
    assert TABLE in bare.run("nft", "list", "tables")
    program.unlink()
    assert daemon.process
    daemon.process.terminate()
    follow = Path("/proc", str(daemon.wait_heard("follow got SIGTERM")["pid"]))
    wait_until(lambda: not follow.exists(), 5, "both children are buried, and our tables are seen to")
    os.close(released)
    assert daemon.process.wait(40) == 0
    assert bare.run("nft", "list", "tables") == ""


def test_our_table_is_removed_when_the_namespace_or_the_setting_goes(daemon: Daemon, bare: Namespace) -> None:
    """A reload without activate_conntrack takes the table away; a namespace that is gone leaves no complaint."""
    daemon.run()
    wait_until(lambda: TABLE in bare.run("nft", "list", "tables"), 5, "our table is there")
    daemon.reload(activate_conntrack=False)
    wait_until(lambda: bare.run("nft", "list", "tables") == "", 5, "our table is gone")
    daemon.reload(activate_conntrack=True)
    wait_until(lambda: TABLE in bare.run("nft", "list", "tables"), 5, "our table is there again")
    bare.close()
    daemon.wait_heard("detach", why="gone")
    assert daemon.stop() == 0
    assert "cannot" not in daemon.log()


def test_a_table_left_by_a_crash_is_removed_at_the_next_end(daemon: Daemon, bare: Namespace) -> None:
    """A daemon that was killed leaves its table; the next one knows it for its own."""
    daemon.run()
    wait_until(lambda: Ledger(daemon.store).of(OwnTable), 5, "our table is noted")
    daemon.close()
    assert TABLE in bare.run("nft", "list", "tables")
    assert daemon.run().stop() == 0
    assert bare.run("nft", "list", "tables") == ""


def test_without_nft_one_line_says_so(daemon: Daemon, bare: Namespace) -> None:
    """Where nft is missing the daemon goes on, and says once what to install."""
    daemon.environment["PATH"] = "/nonexistent"
    daemon.run().wait_heard("attach", netns=bare.name)
    line = f"cannot make conntrack run in {bare.name}: nft is not there, install nftables\n"
    wait_until(lambda: line in daemon.log(), 5, "the log says so")
    assert daemon.stop() == 0
    assert daemon.log().count(line) == 1
