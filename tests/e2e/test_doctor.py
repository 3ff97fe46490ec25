"""`anetcon doctor` beside the installed daemon: healthy, frozen, killed, and after its remedies were followed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from anetcon.testbed.bed import Namespace, Testbed, command
from anetcon.testbed.topology import Router, World
from tests.e2e.conftest import Start
from tests.load.kernel import log_all_netns
from tests.support.asking import Answer
from tests.support.daemon import Daemon
from tests.support.rooms import belongs_to
from tests.support.waiting import wait_until

pytestmark = pytest.mark.needs("nft", "nsenter")


def asked(daemon: Daemon, *names: str) -> dict[str, Any]:
    """What doctor says with the daemon's own configuration, and its exit status."""
    answer = Answer("doctor", "-c", daemon.settings, "--format", "json", *names)
    assert answer.err == ""
    return answer.json | {"status": answer.status}


def grave(answer: dict[str, Any], *checks: str) -> list[dict[str, Any]]:
    """Warnings and problems, of these checks or of all that tell of the daemon and of namespaces."""
    return [
        each
        for each in answer["findings"]
        if each["severity"] in ("warning", "problem")
        and (each["check"] in checks if checks else each["netns"] or each["check"] == "daemon")
    ]


def left_over(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """What is called left; no more than a note while another test's daemon runs that might keep it."""
    return [each for each in answer["findings"] if each["check"] == "stale"]


@pytest.fixture
def bare(bed: Testbed) -> Namespace:
    """A namespace without any rule."""
    made = bed.namespace("bare")
    made.run("ip", "link", "set", "lo", "up")
    return made


def test_a_healthy_daemon_and_what_is_left_when_it_is_killed(bed: Testbed, daemon: Start) -> None:
    """Beside a running daemon nothing is wrong; killed with -9 it is missed, and started again all is well."""
    router = Router(World(bed))
    name = router.name
    made = daemon(name)
    made.wait_attached([name])
    healthy = asked(made, name)
    assert grave(healthy) == []
    elsewhere = [each for each in healthy["findings"] if each["severity"] == "problem"]  # of another test, perhaps
    assert (healthy["status"], healthy["complete"]) == (bool(elsewhere), True)
    assert {"attached", "listeners", "sysctls"} <= {e["check"] for e in healthy["findings"] if e["severity"] == "ok"}
    made.kill()
    (found,) = wait_until(lambda: grave(asked(made, name)), 10, "the daemon is missed")
    assert (found["check"], found["severity"]) == ("daemon", "problem")
    assert "no daemon runs" in found["found"]
    made.run()
    made.wait_attached([name])
    assert grave(asked(made, name)) == []


def test_a_capture_that_is_stopped(bed: Testbed, daemon: Start) -> None:
    """It is named, and the command of the remedy wakes it."""
    router = Router(World(bed))
    name = router.name
    made = daemon(name)
    made.wait_attached([name])
    pid = made.capture_pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    (found,) = wait_until(lambda: grave(asked(made, name), "daemon"), 10, "it is found")
    assert found["found"] == "capture is stopped"
    command(["sh", "-c", re.findall(r"`([^`]+)`", found["remedy"])[0]])
    wait_until(lambda: grave(asked(made, name)) == [], 20, "all is well")


def test_conntrack_that_does_not_run(bare: Namespace, daemon: Start) -> None:
    """The setting and the signal that the remedy names make it run; what a kill -9 then leaves is found and removed."""
    name = bare.name
    made = daemon(name)
    wait_until(lambda: made.states() == {bare.name: "conntrack-inactive"}, 10, "its state is known")
    (found,) = grave(asked(made, name))
    assert found["check"] == "conntrack"
    setting, reload = re.findall(r"`([^`]+)`", found["remedy"])
    assert f"under [audit] in {made.settings}" in found["remedy"]
    made.settings.write_text(made.settings.read_text().replace("[audit]\n", f"[audit]\n{setting}\n"))
    command(["sh", "-c", reload])
    wait_until(lambda: grave(asked(made, name)) == [], 20, "conntrack runs")
    made.kill()
    wait_until(lambda: left_over(asked(made, name)), 10, "the table is left")
    (left,) = left_over(asked(made, name))
    assert "inet anetcon_conntrack" in left["found"]
    command(["sh", "-c", re.findall(r"`([^`]+)`", left["remedy"])[0]])
    assert left_over(asked(made, name)) == []


@belongs_to("legacy")
def test_an_old_daemon_beside_ours(bare: Namespace, daemon: Start, tmp_path: Path) -> None:
    """A script named anetcon.sh that runs is a problem until it is stopped as the remedy says."""
    script = tmp_path / "anetcon.sh"
    script.write_text("#!/bin/sh\nread -r forever\n")
    name = bare.name
    made = daemon(name)
    old = bare.start("/bin/sh", str(script), stdin=subprocess.PIPE)
    number = re.compile(rf"\b{old.pid}\b")
    found = [e for e in grave(asked(made, name), "old") if number.search(e["found"])]
    assert [each["severity"] for each in found] == ["problem"]
    command(["sh", "-c", re.findall(r"`([^`]+)`", found[0]["remedy"])[0]])
    old.wait(20)
    assert [e for e in grave(asked(made, name), "old") if number.search(e["found"])] == []
    assert old.stdin is not None
    old.stdin.close()


@pytest.mark.needs("iptables")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ["iptables-log", "nftables-log"])
def test_log_rules_that_are_in_use(bed: Testbed, daemon: Start, engine: str) -> None:
    """Rules of a LOG engine that the daemon keeps are not called left; moved behind its back they are out of order."""
    router = Router(World(bed))
    name = router.name
    with log_all_netns():
        made = daemon(name, audit={"engine": engine})
        made.wait_attached([name])
        assert grave(asked(made, name)) == []
        assert left_over(asked(made, name)) == []
        if engine == "iptables-log":
            os.kill(made.process.pid, signal.SIGSTOP)  # it would repair this before we have looked
            router.namespace.run("iptables", "-w", "-t", "nat", "-D", "POSTROUTING", "-j", "anetcon")
            router.namespace.run("iptables", "-w", "-t", "nat", "-A", "POSTROUTING", "-j", "anetcon")
            (found,) = grave(asked(made, name), "order")
            command(["sh", "-c", re.findall(r"`([^`]+)`", found["remedy"])[0]])
            assert grave(asked(made, name), "order") == []
            os.kill(made.process.pid, signal.SIGCONT)
        made.stop()
    assert left_over(asked(made, name)) == []
