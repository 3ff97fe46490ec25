"""The keeper as a process: its children, its lock, its signals."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.errors import AlreadyRunningError
from anetcon.testbed.bed import Namespace, Testbed
from tests.support.keeper_daemon import Daemon, is_alive, ours, show, sockets_of, writer
from tests.support.waiting import wait_until

TRACKING = "table inet tracking {\n chain any {\n  ct state new\n }\n}\n"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A keeper that audits our own namespaces alone, not started yet."""
    keeper = Daemon(tmp_path, [ours()])
    yield keeper
    keeper.close()


def tracked(bed: Testbed, role: str = "tracked") -> Namespace:
    """A namespace in which connections are tracked."""
    namespace = bed.namespace(role)
    namespace.run("ip", "link", "set", "lo", "up")
    namespace.run("nft", "-f", "-", text=TRACKING)
    return namespace


def connect(namespace: Namespace, port: int) -> None:
    """One new connection."""
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", port))


def test_what_is_there_at_the_start_is_handed_over(daemon: Daemon, bed: Testbed) -> None:
    """A namespace that was there before is attached, with three sockets of the right kinds, and is not newborn."""
    there = bed.namespace("there")
    daemon.run()
    told = daemon.wait_heard("attach", netns=there.name)
    assert told["inode"] == there.inode
    assert told["protocols"] == [12, 12, 0]
    assert not told["newborn"]
    assert not told["resumed"]
    entry = wait_until(lambda: daemon.namespace(there.name), 5, "status names it")
    assert entry["state"] == "attached"
    status = daemon.status()
    assert status["capture"]["pid"] == told["pid"]
    assert status["totals"]["namespaces"] == 1
    assert status["node"] == "testnode"


def test_sysctls_are_set_and_what_was_found_is_kept(daemon: Daemon, bed: Testbed) -> None:
    """Events, timestamps and counters are on in the namespace, and the values before are in the ledger, once."""
    there = bed.namespace("there")
    there.sysctl(netfilter__nf_conntrack_acct=0)
    daemon.run().wait_heard("attach", netns=there.name)
    for name in ("events", "timestamp", "acct"):
        assert there.run("cat", f"/proc/sys/net/netfilter/nf_conntrack_{name}").strip() == "1"
    assert daemon.stop() == 0
    daemon.run()
    saved = (daemon.store / "ledger.jsonl").read_text().splitlines()
    assert len(saved) == 1
    assert '"nf_conntrack_acct": "0"' in saved[0]
    assert there.name in saved[0]


def test_the_keeper_is_small_and_has_its_name(daemon: Daemon) -> None:
    """In ps it is anetcon-keeper, and its memory is that of a bare interpreter with little more."""
    daemon.run()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines())
    resident = int(status["VmRSS"].split()[0])
    show(f"the keeper's memory: {resident} kB")
    assert status["Name"] == "anetcon-keeper"
    assert resident < 16_384


def test_a_second_daemon_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    """The same store cannot be owned twice: one sentence that names the first's process."""
    daemon.run()
    second = Daemon(tmp_path, [ours()])
    second.log_file = tmp_path / "second.log"
    assert second.start().wait(40) == AlreadyRunningError.exit_status
    assert second.log().count("\n") == 1
    assert f"process {daemon.pid}," in second.log()
    assert (daemon.store / "lock").read_text().strip() == str(daemon.pid)


def test_stop_ends_capture_then_follow(daemon: Daemon) -> None:
    """SIGTERM ends both children in order, and the keeper with status 0."""
    daemon.run()
    assert daemon.stop() == 0
    (capture,), (follow,) = daemon.heard("ended"), daemon.heard("follow got SIGTERM")
    assert capture["at"] < follow["at"]
    assert not is_alive(capture["pid"])
    assert not is_alive(follow["pid"])


def test_a_killed_child_is_started_again_with_the_same_sockets(daemon: Daemon, bed: Testbed) -> None:
    """After kill -9 of capture, what happened meanwhile waits in the same sockets for the next one."""
    namespace = tracked(bed)
    daemon.run()
    first = daemon.wait_heard("attach", netns=namespace.name)
    sockets = sockets_of(daemon.pid) & sockets_of(first["pid"])
    connect(namespace, 5001)
    wait_until(lambda: daemon.namespace(namespace.name).get("events") == 1, 5, "the first event is counted")
    os.kill(first["pid"], signal.SIGSTOP)
    connect(namespace, 5002)
    os.kill(first["pid"], signal.SIGKILL)
    again = daemon.wait_heard("attach", netns=namespace.name, resumed=True)
    assert again["slot"] == first["slot"]
    assert again["attached"] == first["attached"]
    assert len(sockets & sockets_of(again["pid"])) == 3
    wait_until(lambda: daemon.namespace(namespace.name).get("events") == 2, 5, "the event in between is counted")
    assert daemon.status()["capture"]["restarts"] == 1


def test_no_child_outlives_the_keeper(daemon: Daemon) -> None:
    """When the keeper is killed, so are its children, however stuck, and the store is free."""
    daemon.run()
    pids = [daemon.heard("started")[0]["pid"], daemon.heard("follow started")[0]["pid"]]
    os.kill(pids[0], signal.SIGSTOP)
    daemon.close()
    wait_until(lambda: not any(map(is_alive, pids)), 5, "the children are gone")
    daemon.run()
    assert daemon.stop() == 0


def test_replaced_in_place_it_keeps_its_sockets(daemon: Daemon, bed: Testbed) -> None:
    """SIGUSR2 executes the program anew: same process, same sockets, and an event in between arrives."""
    namespace = tracked(bed)
    daemon.run()
    first = daemon.wait_heard("attach", netns=namespace.name)
    started = wait_until(lambda: daemon.status()["started"], 5, "status is there")
    daemon.wait_watched()
    before = sockets_of(daemon.pid)
    shared = before & sockets_of(first["pid"])
    os.kill(daemon.pid, signal.SIGUSR2)
    daemon.wait_heard("ended", 10, pid=first["pid"])
    connect(namespace, 5003)
    again = daemon.wait_heard("attach", 10, netns=namespace.name, resumed=True)
    assert not daemon.heard("channel closed")
    assert again["inode"] == first["inode"]
    assert again["slot"] == first["slot"]
    assert len(shared & sockets_of(again["pid"])) == 3
    wait_until(lambda: daemon.namespace(namespace.name).get("events") == 1, 5, "the event in between is counted")
    wait_until(lambda: daemon.status()["capture"]["pid"] == again["pid"], 5, "status knows the new capture")
    assert daemon.status()["started"] == started
    wait_until(lambda: len(sockets_of(daemon.pid)) == len(before), 5, "as many sockets are open as before")
    wait_until(lambda: len(daemon.heard("follow started")) == 2, 10, "follow was replaced too")
    later = bed.namespace("later")
    daemon.wait_heard("attach", netns=later.name, newborn=True)
    assert daemon.stop() == 0


def test_reload_applies_what_changed(daemon: Daemon, bed: Testbed) -> None:
    """SIGHUP reaches follow, and another selection of namespaces is applied without replacing capture."""
    one, two = bed.namespace("one"), bed.namespace("two")
    daemon.settings["audit"]["namespaces"] = [f"{ours()}.*-one"]
    daemon.run().wait_heard("attach", netns=one.name)
    daemon.reload(namespaces=[f"{ours()}.*-two"])
    daemon.wait_heard("follow got SIGHUP")
    daemon.wait_heard("attach", netns=two.name, newborn=False)
    daemon.wait_heard("detach", why="deselected")
    assert len(daemon.heard("started")) == 1


def test_reload_replaces_children_whose_settings_changed(daemon: Daemon, bed: Testbed) -> None:
    """A setting of capture replaces it, with the same sockets; one of the keeper alone does not."""
    namespace = tracked(bed)
    daemon.run().wait_heard("attach", netns=namespace.name)
    daemon.reload(record=["end"])
    daemon.wait_heard("attach", 10, netns=namespace.name, resumed=True)
    connect(namespace, 5004)
    namespace.run("conntrack", "-F")
    wait_until(lambda: daemon.namespace(namespace.name).get("events"), 5, "an event is counted")
    assert daemon.namespace(namespace.name)["events"] == 1  # the end; the start is not asked for any more
    wait_until(lambda: "the configuration is applied" in daemon.log(), 5, "it says so")


def test_another_sink_leaves_capture_alone(daemon: Daemon, bed: Testbed) -> None:
    """Follow alone is replaced when nothing but sinks changed."""
    daemon.run().wait_heard("attach", netns=bed.namespace("one").name)
    daemon.settings["sinks"] = {"siem": {"type": "json", "to": "file:/x"}}
    daemon.reload()
    wait_until(lambda: len(daemon.heard("follow started")) == 2, 10, "follow is replaced")
    wait_until(lambda: "the configuration is applied" in daemon.log(), 5, "it says so")
    assert len(daemon.heard("started")) == 1


def test_what_is_asked_for_while_the_file_is_read_is_not_forgotten(daemon: Daemon, bed: Testbed) -> None:
    """A replacement that comes then happens, and with the file as it is by now: it is read again."""
    one = bed.namespace("one")
    daemon.run().wait_heard("attach", netns=one.name)
    now = daemon.answer.read_text()
    daemon.answer.unlink()
    os.mkfifo(daemon.answer)  # whoever reads it waits for us
    os.kill(daemon.pid, signal.SIGHUP)
    slow = wait_until(lambda: writer(daemon.answer), 10, "it is being read")
    daemon.wait_heard("follow got SIGHUP")  # two that come at once are one
    daemon.answer.unlink()
    daemon.answer.write_text(now.replace("testnode", "another"))
    os.kill(daemon.pid, signal.SIGUSR2)
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: len(daemon.heard("follow got SIGHUP")) == 2, 5, "both have come")
    os.write(slow, now.encode())
    os.close(slow)
    daemon.wait_heard("follow started", 10, node="another")
    wait_until(lambda: daemon.status()["node"] == "another", 5, "status has it, too")
    assert "the configuration is applied" not in daemon.log()


STARTS_SLOWLY = """
import sys
if sys.orig_argv[3:4] == ["tests.support.keeper_child"] and not {{"config", "--channel"}} & set(sys.orig_argv):
    open("{}").read()
"""


def test_what_follow_is_told_while_it_starts(daemon: Daemon, tmp_path: Path) -> None:
    """A signal that comes before it can take any waits for it, and does not end it."""
    held = tmp_path / "held"
    os.mkfifo(held)
    (tmp_path / "sitecustomize.py").write_text(STARTS_SLOWLY.format(held))
    daemon.environment["PYTHONPATH"] += f":{tmp_path}"
    daemon.start()
    starting = wait_until(lambda: writer(held), 20, "follow is being started")
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: "the configuration is applied" in daemon.log(), 10, "it was told of the reload")
    os.close(starting)
    daemon.wait_heard("follow got SIGHUP")
    assert len(daemon.heard("follow started")) == 1
    assert daemon.stop() == 0


def test_a_bad_configuration_changes_nothing(daemon: Daemon, bed: Testbed) -> None:
    """What cannot be resolved is refused with a line, and the daemon goes on."""
    namespace = bed.namespace("one")
    daemon.run().wait_heard("attach", netns=namespace.name)
    daemon.answer.write_text('{"audit": {}}')
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: "going on with the settings before" in daemon.log(), 5, "the log says so")
    daemon.answer.unlink()
    os.kill(daemon.pid, signal.SIGUSR2)
    wait_until(lambda: "going on with the one before" in daemon.log(), 5, "the log says so")
    assert not daemon.heard("ended")
    assert daemon.stop() == 0


def test_it_says_who_is_audited(daemon: Daemon, bed: Testbed) -> None:
    """One line at the start and one at the end; one for each namespace that comes, goes, or is selected no more; one
    for many at once; none twice."""
    there = bed.namespace("there")
    daemon.run()
    (started,) = (line for line in daemon.log().splitlines() if "started: auditing" in line)
    assert (
        f"auditing 1 network namespace (audit.namespaces: {ours()}), engine conntrack, store {daemon.store}" in started
    )
    assert started.endswith(f"ask: anetcon status --store {daemon.store}")
    late, left = bed.namespace("late"), bed.namespace("left")
    for name in (there, late, left):
        wait_said(daemon, f"{name.name}: attached")
    late.close()
    wait_said(daemon, f"{late.name}: let go, since deleted")
    daemon.reload(namespaces=[f"^{there.name}$"])
    wait_said(daemon, f"{left.name}: let go, since no longer selected")
    wait_said(daemon, f"applied: auditing 1 network namespace (audit.namespaces: ^{there.name}$)")
    many = [bed.namespace(f"many{number}") for number in range(12)]
    daemon.reload(namespaces=[ours()])
    daemon.wait_attached(many[-1].name)
    daemon.stop()
    last, stopped = (line for line in daemon.log().splitlines()[-20:] if "debug" not in line and "applied" not in line)
    assert last == "anetcon-keeper: network namespaces: 13 attached; too many to name each, `anetcon status` has them"
    assert stopped == "anetcon-keeper: stopped: nothing is recorded before the next start"


def wait_said(daemon: Daemon, words: str) -> None:
    """Until a line ends so, once."""

    def lines() -> list[str]:
        return [line for line in daemon.log().splitlines() if line.endswith(words) and "debug" not in line]

    assert len(wait_until(lines, 20, f"{words!r} is said: {daemon.log()}")) == 1


def test_that_nothing_is_audited_is_said(daemon: Daemon) -> None:
    """At the start and after each reload that selects nothing, as a warning with what to do."""
    daemon.settings["audit"]["namespaces"] = [f"{ours()}none"]
    daemon.run()
    (warning,) = (line for line in daemon.log().splitlines() if "nothing is recorded" in line)
    assert f"selects ({ours()}none); see `ip netns list`" in warning
    daemon.reload(namespaces=[f"{ours()}neither"])
    wait_until(lambda: f"selects ({ours()}neither); see" in daemon.log(), 20, "it is said again")


def test_a_capture_that_was_taken_over_does_not_end_the_keeper(daemon: Daemon, bed: Testbed) -> None:
    """Packets that no parser likes, counters at their largest and a memory file that is to be cut: the keeper goes on,
    audits what comes, and writes a status that can be read."""
    daemon.capture = "tests.support.keeper_hostile"
    there = tracked(bed)
    daemon.run()
    assert daemon.wait_heard("hostile", 10)["cut"] is False
    daemon.wait_heard("attach", 10, netns=there.name)
    later = bed.namespace("later")
    daemon.wait_heard("attach", 10, netns=later.name)
    said: str = wait_until(lambda: daemon.namespace(there.name).get("message") or "", 10, "it is shown")
    assert len(said) < 20_000
    assert daemon.status()["capture"]["unwritten"]["reason"] == "Unknown error 4095"
    assert max(map(len, daemon.log().splitlines())) < 4000
    assert len(daemon.heard("started")) == 1
    assert daemon.stop() == 0


FEW_FILES, MANY = 90, 41


def test_few_descriptors_are_not_all_spent_on_namespaces(daemon: Daemon, bed: Testbed) -> None:
    """With 90 descriptors and 41 namespaces both children run, those that fit are audited, and the others are said to
    be tried again; when descriptors come free they are attached."""
    made = {each.name: each for each in (bed.namespace(f"n{number}") for number in range(MANY))}
    names = set(made)
    daemon.within = ["prlimit", f"--nofile={FEW_FILES}:{FEW_FILES}"]
    daemon.run()
    wait_until(lambda: daemon.status()["capture"]["pid"], 10, "capture runs")
    states = {name: daemon.namespace(name)["state"] for name in names}
    attached = {name for name, state in states.items() if state == "attached"}
    assert attached
    assert {daemon.namespace(name)["message"] for name in names - attached} == {
        "too many open files: raise LimitNOFILE"
    }
    assert {state for name, state in states.items() if name not in attached} == {"retrying"}
    assert "cannot start" not in daemon.log()
    assert "cannot watch" not in daemon.log()
    heard = {told["netns"] for told in daemon.heard("attach")}
    assert heard == attached
    daemon.settings["audit"]["period"] = 0.2
    daemon.reload()
    made[min(attached)].close()
    wait_until(lambda: len({t["netns"] for t in daemon.heard("attach")}) > len(attached), 10, "another is attached")
    assert daemon.stop() == 0
