"""`anetcon status` beside the installed daemon: 0 while all is well, else 1 with what is wrong."""

from __future__ import annotations

import signal

import pytest

from anetcon.query.times import spoken
from anetcon.testbed.bed import Testbed, owner
from anetcon.testbed.topology import Router, World
from tests.e2e.conftest import Start
from tests.support.asking import Answer
from tests.support.daemon import Daemon
from tests.support.waiting import wait_until

pytestmark = pytest.mark.needs("nft")

HIDES = "table ip raw {\n chain o {\n  type filter hook output priority -300\n  udp dport 9 notrack\n }\n}\n"


def wrong(daemon: Daemon) -> list[str]:
    """What is wrong; the exit status fits."""
    answer = Answer("status", "--store", daemon.store, "--format", "json")
    found: list[str] = answer.json["wrong"]
    assert answer.status == bool(found)
    return found


def only(daemon: Daemon, words: str) -> None:
    """Until that, and nothing else, is wrong."""
    wait_until(
        lambda: [words in each for each in wrong(daemon)] == [True], 30, f"{words!r}: {wrong(daemon)}", every=0.1
    )


def well(daemon: Daemon) -> None:
    """Until nothing is wrong."""
    wait_until(lambda: wrong(daemon) == [], 30, f"all is well: {wrong(daemon)}", every=0.1)


def test_what_is_wrong_is_said_until_it_is_well(bed: Testbed, daemon: Start) -> None:
    """No namespace that is selected, a rule that hides, a configuration that is refused, a capture that died, a daemon
    that was killed: each is 1, and over when it is over."""
    made = daemon(audit={"namespaces": [f"^qrouter-.*-{owner()}$"]})
    only(made, "no namespace is audited")
    assert "nothing is recorded: no namespace in" in made.errors()
    doctor = Answer("doctor", "-c", made.settings, "--format", "json")
    (selection,) = (each for each in doctor.json["findings"] if each["check"] == "selection")
    assert (selection["severity"], doctor.status) == ("problem", 1)
    router = Router(World(bed))
    made.wait_attached([router.name])
    well(made)
    router.namespace.run("nft", "-f", "-", text=HIDES)
    only(made, f"a gap lasts (tracking-off) in {router.name} since")
    router.namespace.run("nft", "delete table ip raw")
    well(made)
    before = made.settings.read_text()
    made.settings.write_text("nonsense = 1\n")
    made.process.send_signal(signal.SIGHUP)
    only(made, "the configuration is refused")
    made.settings.write_text(before)
    made.process.send_signal(signal.SIGHUP)
    well(made)
    made.signal_capture(signal.SIGKILL)
    only(made, "capture ended by itself at")
    made.kill()
    (gone,) = wrong(made)
    assert "the daemon is not running" in gone
    out = Answer("status", "--store", made.store).out
    assert f"\nas last seen at {spoken(made.status()['updated'])} UTC:\n" in out
    assert out.splitlines()[-1].startswith(router.name)
