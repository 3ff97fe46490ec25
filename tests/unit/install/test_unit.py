"""What the unit and its drop-ins say, held against the facts they were written for."""

from __future__ import annotations

from collections import defaultdict

import pytest

from anetcon.errors import AnetconError, every_error
from anetcon.install import unit
from anetcon.keeper import main, watchdog
from anetcon.keeper.children import STOP_SECONDS
from anetcon.link import capabilities

PROGRAM = "/usr/bin/anetcon"
ENGINES = ("conntrack", "iptables-log", "nftables-log")


def settings(text: str) -> dict[str, list[str]]:
    """Every setting with its values, in order; comments and sections are left out."""
    found = defaultdict(list)
    for line in text.splitlines():
        if line and line[0] not in "#[":
            key, separator, value = line.partition("=")
            assert separator, line
            found[key].append(value)
    return found


@pytest.mark.parametrize(
    "text", [unit.unit_text(PROGRAM), unit.sign_unit_text(PROGRAM), *filter(None, map(unit.engine_drop_in, ENGINES))]
)
def test_each_line_is_one_that_systemd_can_read(text: str) -> None:
    """Comments are lines of their own, no place-holder is left, the text ends with a line."""
    assert text.endswith("\n")
    for line in text.splitlines():
        assert not line or line[0] in "#[" or line.split("=")[0].isalpha(), line
        assert "{" not in line, line


def test_the_program_is_the_one_given() -> None:
    """It is started, and asked whether the configuration is right."""
    commands = settings(unit.unit_text("/opt/x/anetcon"))
    assert commands["ExecStart"] == ["/opt/x/anetcon run"]
    assert "/opt/x/anetcon config check" in commands["ExecReload"]


def test_only_what_waiting_may_mend_is_started_again() -> None:
    """Every exit status is on one side: a class of errors that is new has to be put there."""
    mends_itself = {"AnetconError", "StoreError", "AlreadyRunningError"}
    no_daemons = {"TakeoverError", "InputError", "KeyringError"}
    for_good = {error.exit_status for error in every_error() if error.__name__ not in mends_itself | no_daemons}
    assert set(unit.STOPS_FOR_GOOD) == {2, *for_good}
    assert AnetconError.exit_status not in unit.STOPS_FOR_GOOD
    written = settings(unit.unit_text(PROGRAM))["RestartPreventExitStatus"]
    assert written == [" ".join(map(str, unit.STOPS_FOR_GOOD))]


def test_systemd_is_more_patient_than_the_keeper() -> None:
    """What the keeper does about a capture that stands still, and what it may take to stop, is over before."""
    still = (watchdog.STILL + watchdog.STILL_STARTING) * watchdog.THEN / watchdog.TICKS_A_SECOND
    assert still + STOP_SECONDS < unit.WATCHDOG_SECONDS
    assert 3 * STOP_SECONDS + main.REMOVE_SECONDS < unit.STOP_SECONDS


def test_as_many_files_as_the_keeper_asks_for() -> None:
    """It may not raise its own limit."""
    assert settings(unit.unit_text(PROGRAM))["LimitNOFILE"] == [str(capabilities.MOST_FILES)]


def test_a_child_without_memory_does_not_end_the_keeper() -> None:
    """systemd leaves it to the keeper to start another."""
    assert settings(unit.unit_text(PROGRAM))["OOMPolicy"] == ["continue"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_capabilities_are_those_the_daemon_asks_for(engine: str) -> None:
    """No more and no less, and each is both allowed and given."""
    found = settings(unit.unit_text(PROGRAM) + (unit.engine_drop_in(engine) or ""))
    for key in ("CapabilityBoundingSet", "AmbientCapabilities"):
        assert set(" ".join(found[key]).split()) == set(capabilities.needed(engine))


def test_no_drop_in_for_conntrack() -> None:
    """The unit is for it as it stands."""
    assert unit.engine_drop_in("conntrack") is None
