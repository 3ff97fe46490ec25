"""What the log says of who is audited, and how seldom."""

from __future__ import annotations

from typing import Any

import pytest

from anetcon.keeper import announce
from anetcon.keeper.announce import ATTACHED, DESELECTED, FEW, GONE, HOUR, MINUTE, Announcer
from anetcon.link.settings import Settings
from anetcon.system.report import INFO, WARNING

RESOLVED: dict[str, Any] = {
    "node": "gw1",
    "settings_file": "/etc/anetcon/anetcon.toml",
    "store": {"path": "/var/lib/anetcon"},
    "audit": {
        "namespaces": ["^(qrouter|snat|fip)-"],
        "netns_dir": "/run/netns",
        "period": 30.0,
        "record": ["start", "end"],
        "on_overload": "hold",
        "guard_share": 0.7,
        "activate_conntrack": False,
        "buffer_bytes": 1,
        "buffers_total_bytes": 1,
    },
}


class Fixture:
    """An announcer, its clock, and what it says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        self.settings = Settings(RESOLVED)
        monkeypatch.setattr(announce, "report", self.said.append)
        self.announcer = Announcer(lambda: self.now)

    def ticks(self, seconds: float, audited: int = 1, *, each: int = 0) -> list[str]:
        """Seconds pass, in each of which so many namespaces come and go; what was said meanwhile."""
        self.said.clear()
        for _ in range(int(seconds)):
            for number in range(each):
                self.announcer.tell(ATTACHED, f"qrouter-{number}")
                self.announcer.tell(GONE, f"qrouter-{number}")
            self.announcer.tick(self.settings, audited)
            self.now += 1
        return list(self.said)


@pytest.fixture
def fixture(monkeypatch: pytest.MonkeyPatch) -> Fixture:
    """An hour's worth of clock before it."""
    return Fixture(monkeypatch)


def test_the_start_says_what_and_where_to_ask(fixture: Fixture) -> None:
    """One line: how many namespaces, which patterns, the engine, the store and the command."""
    fixture.announcer.start(fixture.settings, 12, again=False)
    (line,) = fixture.said
    assert line.startswith(INFO)
    assert (
        "started: auditing 12 network namespaces (audit.namespaces: ^(qrouter|snat|fip)-), engine conntrack, "
        "store /var/lib/anetcon; ask: anetcon status"
    ) in line
    elsewhere = Settings(RESOLVED | {"store": {"path": "/srv/audit"}})
    fixture.announcer.start(elsewhere, 1, again=True)
    assert "goes on: auditing 1 network namespace (" in fixture.said[-1]
    assert fixture.said[-1].endswith("store /srv/audit; ask: anetcon status --store /srv/audit")


def test_a_few_have_a_line_each(fixture: Fixture) -> None:
    """Attached, deleted, or no longer selected, each by its name and once."""
    fixture.announcer.tell(ATTACHED, "qrouter-a")
    fixture.announcer.tell(GONE, "qrouter-b")
    fixture.announcer.tell(DESELECTED, "qrouter-c")
    assert fixture.ticks(MINUTE) == [
        f"{INFO}qrouter-a: attached",
        f"{INFO}qrouter-b: let go, since deleted",
        f"{INFO}qrouter-c: let go, since no longer selected",
    ]


def test_a_thousand_at_once_are_one_line(fixture: Fixture) -> None:
    """They are counted; a minute later those that come have a line each again."""
    for number in range(1000):
        fixture.announcer.tell(ATTACHED, f"qrouter-{number}")
    assert fixture.ticks(MINUTE) == [
        f"{INFO}network namespaces: 1000 attached; too many to name each, `anetcon status` has them"
    ]
    fixture.announcer.tell(GONE, "qrouter-1")
    assert fixture.ticks(MINUTE) == [f"{INFO}qrouter-1: let go, since deleted"]


def test_churn_is_a_line_a_minute(fixture: Fixture) -> None:
    """Eight a second for an hour: none is left out of the counts, and there is a line a minute."""
    said = fixture.ticks(HOUR, each=4)
    assert len(said) <= HOUR / MINUTE + FEW + 1
    fixture.announcer.finish()
    counted = sum(int(word) for line in fixture.said for word in line.replace(",", " ").split() if word.isdecimal())
    assert counted + sum("qrouter-" in line for line in fixture.said) == 8 * HOUR


def test_nothing_is_told_twice_or_forgotten_at_the_end(fixture: Fixture) -> None:
    """What waits for its minute to pass is said when the daemon stops."""
    for number in range(FEW + 1):
        fixture.announcer.tell(ATTACHED, f"qrouter-{number}")
    fixture.ticks(1)
    fixture.announcer.tell(GONE, "qrouter-1")
    assert fixture.ticks(1) == []
    fixture.announcer.finish()
    assert fixture.said == [f"{INFO}qrouter-1: let go, since deleted"]


def test_that_nothing_is_audited_is_a_warning(fixture: Fixture) -> None:
    """At the start at once, then every hour, and it says what to do."""
    fixture.announcer.start(fixture.settings, 0, again=False)
    started, warning = fixture.said
    assert "auditing 0 network namespaces" in started
    assert warning.startswith(f"{WARNING}nothing is recorded: no namespace in /run/netns has a name that")
    assert 'namespaces = ["default"] under [audit] in /etc/anetcon/anetcon.toml' in warning
    assert fixture.ticks(HOUR, audited=0) == []
    assert fixture.ticks(HOUR, audited=0) == [warning]


def test_the_last_one_that_goes(fixture: Fixture) -> None:
    """Without any for a minute it is said; one that is made again in between is nothing to warn of."""
    fixture.announcer.start(fixture.settings, 1, again=False)
    fixture.ticks(5)
    assert fixture.ticks(MINUTE - 5, audited=0) == []
    fixture.ticks(5)
    assert len(fixture.ticks(MINUTE, audited=0)) == 1
    fixture.ticks(5)
    assert fixture.ticks(10 * MINUTE, audited=0) == [], "at most once an hour, however often they come and go"
