"""What is handed over can be read by the program that is there then, of whichever version."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import AnetconError
from anetcon.gaps import Cause
from anetcon.keeper import handover, upgrade
from anetcon.keeper.handover import VERSION, Handover, KeptChild, KeptNamespace, KeptRules
from anetcon.keeper.namespace import Refusal, Stage
from anetcon.link import settings

BEFORE = [json.loads(line) for line in Path(__file__).with_name("handed_over.jsonl").read_text().splitlines()]
"""As commit 58e1a01 wrote it, which counted no versions: under the engine conntrack, and under nftables-log."""


def read(state: dict[str, Any]) -> Handover:
    """What a program is handed."""
    descriptor = settings.write(state)
    try:
        return handover.read(descriptor)
    finally:
        os.close(descriptor)


def test_the_version_before_under_conntrack() -> None:
    """Its namespaces are as it had them, and what has come since is as it was then."""
    found = read(BEFORE[0])
    assert (found.version, found.engine, found.hold, found.kernel_log) == (0, "conntrack", True, None)
    assert [each.name for each in (*found.attached, *found.retrying, *found.gone)] == [
        *("qrouter-b", "qrouter-a", "qrouter-twin", "qrouter-c"),
    ]
    assert found.descriptors() == [3, 8, 26, 12, 13, 11, *range(18, 26)]
    attached = upgrade.restored(found.attached[1], Stage.ATTACHED, "/there")
    retrying = upgrade.restored(found.retrying[0], Stage.REFUSED, "/there")
    gone = upgrade.restored(found.gone[0], Stage.GONE, "/there")
    assert (attached.slot, attached.handed, attached.since) == (2, True, BEFORE[0]["attached"][1]["attached"])
    assert attached.path == Path("/there", found.attached[1].name)
    assert retrying.refusal == Refusal(BEFORE[0]["retrying"][0]["message"], Cause.NOT_ATTACHED)
    assert (gone.counters, gone.since) == ((0,) * 8, BEFORE[0]["gone"][0]["gone"])


def test_the_version_before_under_a_log_engine() -> None:
    """Its rules and its reader of kernel lines go on."""
    found = read(BEFORE[1])
    assert (found.engine, found.hold, found.starts) == ("nftables-log", False, False)
    assert found.kernel_log is not None
    assert (found.kernel_log.pid, found.kernel_log.restarts) == (14197, 0)
    assert (found.rules[0].generation, found.rules[0].wanted[0]) == (3, "nftables-log")
    refusal = upgrade.restored(found.retrying[0], Stage.REFUSED, "/there").refusal
    assert refusal is not None
    assert refusal.cause is Cause.RULES_MISSING
    assert found.descriptors() == [3, 8, 19, 11, 12, 13, 15, 16, 14, *range(26, 30), *range(22, 26)]


@pytest.mark.parametrize("before", BEFORE)
def test_the_version_before_could_read_this(before: dict[str, Any]) -> None:
    """Whatever it wrote is written still, by the same names: who goes back goes on as well."""
    plain = handover._plain(read(before))
    assert before.keys() <= plain.keys()
    for name in ("attached", "retrying", "draining", "gone", "rules"):
        assert all(old.keys() <= new.keys() for old, new in zip(before[name], plain[name], strict=True))
    for name in ("log", "kernel_log"):
        assert (before[name] or {}).items() <= (plain[name] or {}).items()


PLAIN = st.none() | st.integers() | st.text() | st.lists(st.integers() | st.text(), max_size=3)


def records(kind: Any, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Records of a kind; a field that is not known is anything."""
    return st.fixed_dictionaries({name: known.get(name, PLAIN) for name in kind._fields}).map(
        lambda fields: kind(**fields)
    )


CHILD = st.none() | records(KeptChild)
LISTS = dict.fromkeys(("attached", "retrying", "draining", "gone"), st.lists(records(KeptNamespace), max_size=2))
RULES = st.lists(records(KeptRules), max_size=2)
HANDED = records(Handover, **LISTS, rules=RULES, log=CHILD, kernel_log=CHILD, version=st.just(VERSION))


@given(HANDED)
def test_what_is_written_is_read(state: Handover) -> None:
    """All of it, and more of a later version is passed over."""
    assert read(handover._plain(state)) == state
    assert read({**handover._plain(state), "colour": "blue"}) == state


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({**BEFORE[0], "version": VERSION + 1}, "a later version"),
        ({key: value for key, value in BEFORE[0].items() if key != "lock"}, "did not hand over all .*'lock'"),
        ({**BEFORE[0], "gone": [{"name": "a"}]}, "did not hand over all"),
        ({**BEFORE[0], "gone": None}, "did not hand over all"),
    ],
)
def test_what_nobody_can_go_on_with(state: dict[str, Any], why: str) -> None:
    """It is one sentence: the service manager starts the daemon anew."""
    with pytest.raises(AnetconError, match=why):
        read(state)
