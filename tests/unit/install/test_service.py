"""What is done with systemd."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anetcon.errors import AnetconError, ProgramMissingError
from anetcon.install import service
from anetcon.install.service import Changed, ServiceState, after_install

PYTHON = "/opt/anetcon/bin/python3"
NEW = ServiceState(masked=False, active=False, stale=False, pid=0, interpreter="")
RUNS = ServiceState(masked=False, active=True, stale=False, pid=7, interpreter=PYTHON)


def words(
    state: ServiceState, changed: Changed, start: bool = True, interpreter: str = PYTHON, in_place: bool = True
) -> list[str]:
    """What is said of each action, without its kind."""
    found = after_install(state, changed, interpreter, start, in_place)
    return [str(each).partition(" ")[2].strip() for each in found]


def test_the_first_time() -> None:
    """systemd reads the unit and starts it; or only reads it."""
    changed = Changed(units=True, program=True)
    assert words(NEW, changed) == ["systemctl daemon-reload", "systemctl start anetcon.service"]
    assert words(NEW, changed, start=False) == ["systemctl daemon-reload"]


def test_a_running_daemon_is_replaced_in_place() -> None:
    """A new program by SIGUSR2, never by a restart; nothing at all when nothing changed."""
    assert words(RUNS, Changed()) == []
    assert words(RUNS, Changed(program=True)) == [
        "SIGUSR2 to process 7: the daemon goes on as the new program, without a gap",
        "systemctl restart anetcon-sign.service",
    ]
    said = words(RUNS, Changed(units=True, program=True))
    assert said[0] == "systemctl daemon-reload"
    assert "restart" not in said[1]
    assert "next start" in said[3]


def test_a_program_that_moved_needs_a_restart() -> None:
    """The daemon would execute the old one again."""
    assert words(RUNS, Changed(program=True), interpreter="/srv/other/bin/python3") == [
        "systemctl restart anetcon.service"
    ]


def test_rsyslog_hears_of_its_file() -> None:
    """And the daemon, which then leaves the text logs to it."""
    assert words(RUNS, Changed(rsyslog=True)) == [
        "systemctl try-restart rsyslog.service",
        "systemctl reload anetcon.service",
    ]


def test_what_a_running_daemon_would_refuse_it_is_not_asked() -> None:
    """A reload or a replacement would fail where the configuration needs another store, or capabilities that only the
    next start has: the restart is what has to be said, each time until it is done."""
    for changed in (Changed(units=True, rsyslog=True), Changed(program=True), Changed()):
        said = words(RUNS, changed, in_place=False)
        assert not [each for each in said if "reload anetcon" in each or "SIGUSR2" in each]
        assert said[-1].endswith("`systemctl restart anetcon.service`, a gap of a second")


def test_whose_daemon_owns_the_store() -> None:
    """The service's has its process; one of another must not lose its sysctls to an `uninstall` because a service that
    cannot start beside it counts as active."""
    waits = replace(RUNS, pid=0)
    assert [RUNS.is_its(owner) for owner in (7, 0, 8)] == [True, True, False]
    assert [waits.is_its(owner) for owner in (7, 0, 8)] == [False, False, False]


def test_a_masked_unit() -> None:
    """Is said before anything is done, unless nothing is to be started."""
    masked = ServiceState(masked=True, active=False, stale=False, pid=0, interpreter="")
    with pytest.raises(AnetconError, match=r"`systemctl unmask anetcon[.]service`"):
        words(masked, Changed(units=True))
    assert words(masked, Changed(), start=False) == []
    assert words(replace(masked, active=True, pid=7, interpreter=PYTHON), Changed()) == []


def test_a_chroot_has_no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it may see the running machine's /run: there systemctl says that all is well, and does nothing."""
    monkeypatch.setattr(service, "SYSTEMD", tmp_path)
    monkeypatch.setattr(service, "ROOT_OF_1", Path("/"))
    assert service.has_systemd()
    monkeypatch.setattr(service, "ROOT_OF_1", tmp_path)
    assert not service.has_systemd()
    monkeypatch.setattr(service, "ROOT_OF_1", tmp_path / "nobody's to read")
    assert service.has_systemd()


def test_units_that_systemd_has_not_read_yet() -> None:
    """As after an installation that was interrupted."""
    assert words(ServiceState(False, False, True, 0, ""), Changed())[0] == "systemctl daemon-reload"


def test_a_command_that_fails_is_one_sentence() -> None:
    """With what it said, or that it is not there."""
    with pytest.raises(AnetconError, match="`sh -c echo no reason at all >&2; exit 1` failed: no reason at all"):
        service.run(["sh", "-c", "echo no reason at all >&2; exit 1"])
    with pytest.raises(AnetconError, match=r"failed: no room$"):
        service.run(["sh", "-c", "echo Creating group. >&2; echo no room. >&2; exit 1"])
    with pytest.raises(ProgramMissingError, match="cannot run no-such-program"):
        service.run(["no-such-program"])


def test_why_a_start_failed() -> None:
    """The daemon's last words; where it said nothing, since systemd could not even execute it, systemd's first."""
    refused = "anetcon.service: Failed to set up special execution directory in /var/lib: Not a directory"
    after = ["anetcon.service: Failed at step STATE_DIRECTORY", "anetcon.service: Failed with result 'exit-code'."]
    assert service.why([refused, *after]) == refused
    assert service.why(["anetcon-capture: slow", "anetcon: no", *after]) == "anetcon: no"
    assert service.why(["Starting anetcon.service", after[1]]) == ""
