"""How the daemon is said to be doing."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anetcon.proof.told import LastWord
from anetcon.query.times import rfc3339, spoken
from anetcon.store import layout
from anetcon.store.coverage import STALE
from tests.support.asking import Answer
from tests.support.records import DAY, ROUTER, SECOND, Making, start

NAMESPACE = {
    "netns": ROUTER,
    "inode": 1,
    "state": "attached",
    "since": "2026-11-20T13:05:09.000000Z",
    "message": None,
    "events": 5,
    "starts": 3,
    "ends": 2,
    "drops": 0,
    "undecodable": 0,
    "slow": 1,
    "filtered": 0,
}
NOW = time.time_ns() // 1000
"""When the tests were collected: what is to be lately is DAY later."""


def said(started: int | None = None, **more: Any) -> dict[str, Any]:
    """The keeper's status; it started now, unless told otherwise."""
    started = time.time_ns() // 1000 if started is None else started
    status = {"version": 1, "node": "gw1", "pid": 4711, "started": rfc3339(started), "updated": rfc3339(started)}
    children = {"capture": {"pid": 1, "restarts": 0, "flushed": None}, "follow": {"pid": 2, "restarts": 1}}
    return status | {"settings_file": None, "namespaces": [NAMESPACE], "totals": {"events": 5}} | children | more


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store whose daemon wrote its status."""
    path = Making(tmp_path / "store").add(start()).close()
    (path / "status.json").write_text(json.dumps(said()))
    return path


@pytest.fixture
def lock(store: Path) -> Iterator[None]:
    """The daemon runs."""
    descriptor = os.open(store / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


SECONDS = re.compile(r"\d+ s\b")
"""They go on between two questions."""


@pytest.mark.usefixtures("lock")
def test_a_daemon_that_is_well(store: Path) -> None:
    """Its namespaces and totals are shown as it wrote them, and that it runs and records."""
    answer = Answer("status", "--store", store, "--format", "json")
    assert answer.status == 0
    assert (answer.json["running"], answer.json["recording"]) == (True, True)
    assert (answer.json["namespaces"], answer.json["totals"]) == ([NAMESPACE], {"events": 5})
    assert Answer("status", "--store", store, "--format", "jsonl").lines == [NAMESPACE]
    head, row = Answer("status", "--store", store, "--format", "csv").out.splitlines()
    assert dict(zip(head.split(","), row.split(","), strict=True))["netns"] == ROUTER
    words = Answer("status", "--store", store).out
    assert "runs as process 4711" in words
    assert ROUTER in words


def test_a_daemon_that_is_not_running(store: Path) -> None:
    """That it does not run is the first thing said; what it wrote last is still shown."""
    answer = Answer("status", "--store", store)
    assert answer.status == 1
    assert answer.out.startswith(
        f"the daemon is not running with the store {store}: nothing is recorded; it last wrote"
    )
    seen = f"as last seen at {spoken(json.loads((store / 'status.json').read_bytes())['updated'])} UTC:"
    *_, heading, _, row = answer.out.splitlines()
    assert (heading, ROUTER in row) == (seen, True)
    assert f"{seen} totals: events 5" in answer.out
    assert Answer("status", "--store", store, "--format", "json").json["running"] is False


@pytest.mark.usefixtures("lock")
def test_a_capture_that_does_not_move(store: Path) -> None:
    """A daemon whose journal has not grown for long is said to be stuck."""
    (store / "status.json").write_text(json.dumps(said(NOW - STALE - 10 * SECOND)))
    answer = Answer("status", "--store", store)
    assert answer.status == 1
    assert "wrong: capture does not move" in answer.out
    said_of_it = Answer("status", "--store", store, "--format", "json").json
    assert (said_of_it["running"], said_of_it["recording"]) == (True, False)


@pytest.mark.usefixtures("lock")
def test_nothing_is_audited(store: Path) -> None:
    """When no namespace is selected, or none is left, that is wrong, and said with what to do."""
    for namespaces in ([], [NAMESPACE | {"state": "gone"}]):
        (store / "status.json").write_text(json.dumps(said(namespaces=namespaces)))
        answer = Answer("status", "--store", store)
        assert answer.status == 1
        assert "wrong: no namespace is audited: none has a name that audit.namespaces selects" in answer.out


@pytest.mark.usefixtures("lock")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"capture": {"pid": None, "restarts": 1, "flushed": None}}, "capture does not run; it is started again"),
        ({"follow": {"pid": 2, "restarts": 1, "failed": rfc3339(NOW + DAY)}}, "follow ended by itself at"),
        ({"kmsg": {"pid": None, "restarts": 0}}, "kmsg does not run"),
        ({"refused": True}, "the configuration is refused, and the one before holds"),
        ({"updated": rfc3339(NOW - 40 * SECOND)}, "the keeper does not move: it last wrote its status "),
        (
            {"namespaces": [NAMESPACE, NAMESPACE | {"netns": "snat-1", "state": "retrying", "message": "no room"}]},
            "1 of 2 namespaces cannot be audited (snat-1): no room",
        ),
        (
            {"namespaces": [NAMESPACE, NAMESPACE | {"netns": "snat-1", "state": "conntrack-inactive"}]},
            "no rule uses connection tracking in snat-1: nothing is recorded there",
        ),
        (
            {"namespaces": [NAMESPACE | {"netns": "default", "state": "conntrack-inactive", "starts": 0}]},
            "no rule uses connection tracking in default: nothing is recorded there",
        ),
    ],
)
def test_what_is_wrong(store: Path, changes: dict[str, Any], words: str) -> None:
    """Each makes the exit status 1, and is one sentence, in the table and in JSON."""
    (store / "status.json").write_text(json.dumps(said(**changes)))
    answer = Answer("status", "--store", store)
    (wrong,) = (line for line in answer.out.splitlines() if line.startswith("wrong: "))
    assert (answer.status, words in wrong) == (1, True)
    told = Answer("status", "--store", store, "--format", "json")
    said_twice = [SECONDS.sub("N s", each) for each in (wrong, *(f"wrong: {each}" for each in told.json["wrong"]))]
    assert (told.status, len(said_twice), len(set(said_twice))) == (1, 2, 1)
    assert Answer("status", "--store", store, "--format", "jsonl").status == 1


@pytest.mark.usefixtures("lock")
@pytest.mark.parametrize(
    "changes",
    [
        {"follow": {"pid": 2, "restarts": 7, "failed": rfc3339(NOW - 3600 * SECOND)}},
        {"namespaces": [NAMESPACE, NAMESPACE | {"netns": "new", "state": "conntrack-inactive", "starts": 0}]},
        {"namespaces": [NAMESPACE, NAMESPACE | {"netns": "old", "state": "gone"}]},
    ],
)
def test_what_is_not_wrong(store: Path, changes: dict[str, Any]) -> None:
    """What is long over, a namespace that has no rule yet beside one that has, and one that was deleted."""
    (store / "status.json").write_text(json.dumps(said(**changes)))
    answer = Answer("status", "--store", store, "--format", "json")
    assert (answer.status, answer.json["wrong"]) == (0, [])


@pytest.mark.parametrize(
    ("cause", "over", "wrong"),
    [("tracking-off", False, 1), ("tracking-off", True, 0), ("listener-stuck", False, 0), ("log-engine", False, 0)],
)
def test_a_gap_that_lasts(tmp_path: Path, cause: str, over: bool, wrong: int) -> None:
    """What is missing now is wrong, though the daemon runs; what is over, or leaves connections whole, is not."""
    now = time.time_ns() // 1000
    end = NOW - SECOND if over else None
    gap = {"node": "gw1", "netns": ROUTER, "from": NOW - 9 * SECOND, "to": end, "cause": cause, "lost": None}
    path = Making(tmp_path / "store").add(start()).add(gap, table="gaps").alive(now).close()
    (path / "status.json").write_text(json.dumps(said(NOW - 20 * SECOND, updated=rfc3339(now))))
    with (path / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = Answer("status", "--store", path, "--format", "json")
    assert (answer.status, len(answer.json["wrong"])) == (wrong, wrong)
    assert all(f"a gap lasts ({cause}) in {ROUTER} since" in each for each in answer.json["wrong"])


@pytest.mark.usefixtures("lock")
def test_what_is_gone_is_counted(store: Path) -> None:
    """Routers that were deleted within the hour are a line with the last of them; `--gone` and JSON have each."""
    gone = [NAMESPACE | {"netns": f"qrouter-{number}", "state": "gone"} for number in range(50)]
    (store / "status.json").write_text(json.dumps(said(namespaces=[NAMESPACE, *gone])))
    out = Answer("status", "--store", store).out
    assert "gone within the hour: 50 (qrouter-49, qrouter-48, qrouter-47 and 47 more); --gone lists them" in out
    assert "qrouter-1 " not in out
    assert "qrouter-1 " in Answer("status", "--store", store, "--gone").out
    assert len(Answer("status", "--store", store, "--format", "json").json["namespaces"]) == 51


def test_never_started(tmp_path: Path) -> None:
    """Where no daemon ever was, none is running."""
    answer = Answer("status", "--store", tmp_path / "none", "--format", "json")
    assert (answer.status, answer.json["running"], answer.json["namespaces"]) == (1, False, [])


@pytest.mark.usefixtures("lock")
def test_what_the_daemon_has_not_said_or_not_taken(store: Path) -> None:
    """No invented numbers where it could not write; a configuration that it refused is told, for its next start."""
    (store / "status.json").write_text(json.dumps(said(refused=True)))
    assert "wrong: the configuration is refused" in Answer("status", "--store", store).out
    (store / "status.json").unlink()
    assert "is that disk full?" in Answer("status", "--store", store).out


@pytest.mark.usefixtures("lock")
def test_a_store_that_is_not_signed_any_more(store: Path) -> None:
    """Told where it was signed once: that nobody does, or why it is refused; of who never signed nothing is said."""
    assert "signed" not in Answer("status", "--store", store).out
    folder = layout.sign_folder(store)
    folder.mkdir()
    for time_, refused, words in (
        (NOW + DAY, "", None),
        (NOW - 400 * SECOND, "", "`anetcon sign` does not run"),
        (NOW, "it was rolled back", "what is sealed is not signed: it was rolled back; see `anetcon verify`"),
    ):
        LastWord(rfc3339(time_), 5, 1, refused).write(folder)
        answer = Answer("status", "--store", store)
        assert ("signed" in answer.out) == (words is not None)
        assert (words or "") in answer.out


def test_a_damaged_status(store: Path) -> None:
    """A status that cannot be read is an error in one sentence."""
    (store / "status.json").write_text('{"version":')
    answer = Answer("status", "--store", store)
    assert (answer.status, len(answer.err.splitlines())) == (8, 1)


@pytest.mark.parametrize("command", ["status", "search", "gaps", "follow"])
def test_a_store_that_may_not_be_read(tmp_path: Path, command: str) -> None:
    """It is one exit status and one sentence for every command."""
    path = Making(tmp_path / "store").add(start()).close()
    (path / "status.json").write_text("{}")
    path.chmod(0)
    assert Answer(command, "--help").status == 0  # its modules are read now: they may be where only we can
    before = os.geteuid()
    os.seteuid(before or 65534)  # root may read everything
    try:
        answer = Answer(command, "--store", path)
    finally:
        os.seteuid(before)
    assert (answer.status, answer.out, len(answer.err.splitlines())) == (8, "", 1)
    assert "be root or a member of group adm" in answer.err


@pytest.mark.usefixtures("lock")
def test_a_journal_that_cannot_be_written(store: Path) -> None:
    """Since when, why and what waits is said at once, and it counts as not recording."""
    why = {"since": rfc3339(NOW), "reason": "No space left on device", "waiting_rows": 17}
    capture = {"pid": 1, "restarts": 0, "flushed": rfc3339(NOW), "unwritten": why}
    (store / "status.json").write_text(json.dumps(said(capture=capture)))
    answer = Answer("status", "--store", store)
    assert answer.status == 1
    since = f"since {spoken(NOW)} UTC: No space left on device; 17 records wait in memory"
    assert f"wrong: the journal cannot be written {since}" in answer.out


@pytest.mark.usefixtures("lock")
def test_a_sink_that_fails(store: Path) -> None:
    """What follow wrote of it is said while the daemon runs, in a line however long and whatever it is."""
    (store / "followers").mkdir()
    (store / "followers" / "siem.failed").write_text("sink siem: /srv/a.json: No space left on device")
    (store / "followers" / "text.failed").write_bytes(b"text logs: \xff\n\x1b[2J" + 1000 * b"x")
    answer = Answer("status", "--store", store)
    assert answer.status == 1
    wrong = [line for line in answer.out.splitlines() if line.startswith("wrong: ")]
    again = "; it is tried again, and nothing is lost"
    assert wrong[0] == f"wrong: sink siem: /srv/a.json: No space left on device{again}"
    assert wrong[1].startswith("wrong: text logs: ")
    assert wrong[1].endswith(again)
    assert len(wrong[1]) < 700
    assert "\x1b" not in answer.out


def test_what_was_lost_since_the_start(tmp_path: Path) -> None:
    """Gaps are counted by cause, with what the kernel counted in them; those of before the start are not."""
    making = Making(tmp_path / "store").add(start()).audited()
    since = NOW - 20 * SECOND
    rows = [
        {"node": "gw1", "netns": ROUTER, "from": since + at * SECOND, "to": since + (at + 1) * SECOND, "cause": cause}
        for at, cause in ((-9, "overrun"), (1, "overrun"), (3, "overrun"), (5, "capture-down"))
    ]
    lost = [row | {"lost": 3 if row["cause"] == "overrun" else None} for row in rows]
    path = making.add(*lost, table="gaps").alive(NOW).close()
    (path / "status.json").write_text(json.dumps(said(since)))
    counted = {gap["cause"]: (gap["gaps"], gap["lost"]) for gap in gaps_of(path)}
    assert counted == {"overrun": (2, 6), "capture-down": (1, None), "daemon-down": (1, None)}
    words = Answer("status", "--store", path).out
    assert (
        "capture-down 1 (unknown how many were lost), daemon-down 1 (unknown how many were lost), overrun 2 (6" in words
    )


def test_a_sum_with_an_unknown_part_is_unknown(tmp_path: Path) -> None:
    """What some gaps of a cause were counted to have lost is told, and that it is not all."""
    making, since = Making(tmp_path / "store").add(start()).audited(), NOW - 20 * SECOND
    overrun = {"node": "gw1", "netns": ROUTER, "cause": "overrun"}
    rows = [
        overrun | {"from": since + at, "to": since + at + 1, "lost": lost} for at, lost in ((1, 3), (3, None), (5, 4))
    ]
    path = making.add(*rows, table="gaps").alive(NOW).close()
    (path / "status.json").write_text(json.dumps(said(since)))
    assert {"cause": "overrun", "gaps": 3, "lost": None, "counted": 7, "whole": False} in gaps_of(path)
    assert "overrun 3 (7 counted lost, and an unknown number)" in Answer("status", "--store", path).out


def test_what_left_the_record_whole_is_told_too(tmp_path: Path) -> None:
    """Text logs that were given up for a while are in the totals, and that no connection is missing for it."""
    making, since = Making(tmp_path / "store").add(start()).audited(), NOW - 20 * SECOND
    behind = {"node": "gw1", "netns": None, "from": since + SECOND, "to": since + 2 * SECOND, "cause": "sink-behind"}
    path = making.add(behind | {"lost": 6}, table="gaps").alive(NOW).close()
    (path / "status.json").write_text(json.dumps(said(since)))
    assert {"cause": "sink-behind", "gaps": 1, "lost": 6, "counted": 6, "whole": True} in gaps_of(path)
    assert "sink-behind 1 (no connection is missing)" in Answer("status", "--store", path).out


def gaps_of(path: Path) -> list[dict[str, Any]]:
    """What `status` says of gaps."""
    found: list[dict[str, Any]] = Answer("status", "--store", path, "--format", "json").json["gaps"]
    return found


def test_a_log_engine_and_its_rules(store: Path) -> None:
    """Engine, restarts of the reader of kernel lines, and when rules were looked at and put right are in the table."""
    assert "rules" not in Answer("status", "--store", store).out
    checked, repaired = "2026-11-20T13:05:39.000000Z", "2026-11-20T13:05:19.000000Z"
    told: dict[str, Any] = {"engine": "iptables-log", "kmsg": {"pid": 3, "restarts": 2}}
    waiting = NAMESPACE | {"netns": "qrouter-waits", "state": "retrying"}
    namespaces = [NAMESPACE | {"rules": {"checked": checked, "repaired": repaired}}, waiting]
    (store / "status.json").write_text(json.dumps(said(**told, namespaces=namespaces)))
    words = Answer("status", "--store", store).out
    assert "engine: iptables-log; " in words
    assert ", 2 of kmsg; " in words
    head, first, second = words.splitlines()[-3:]
    assert all(f"{name} (UTC)" in head for name in ("since", "rules checked", "rules repaired"))
    assert "2026-11-20 13:05:39  2026-11-20 13:05:19" in first
    for form in ("json", "jsonl"):
        assert checked in Answer("status", "--store", store, "--format", form).out
    assert "retrying" in second


@pytest.mark.usefixtures("lock")
def test_why_questions_take_longer(store: Path) -> None:
    """It is said on stderr, in one sentence, and is nothing that is wrong with the daemon."""
    path = layout.state_path(store)
    path.write_bytes(b"torn")
    for form in ("table", "json"):
        answer = Answer("status", "--store", store, "--format", form)
        assert answer.status == 0
        assert f"{path} is not as it was written: answers take longer until the daemon writes it again" in answer.err
    path.unlink()
    assert str(path) not in Answer("status", "--store", store).err
