"""Packets that conntrack calls invalid cross the router untranslated and unrecorded: the record says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anetcon.testbed.topology import Router
from tests.load import kernel
from tests.support.daemon import Daemon
from tests.support.invalid_packets import DROP, EACH, KINDS, arrived, judged, router, scan
from tests.support.waiting import wait_until

__all__ = ["router"]

Start = Callable[..., Daemon]

ONE_FAMILY = DROP.replace("inet", "ip")


def invalid(router: Router) -> int:
    """What conntrack calls invalid, so far."""
    said = kernel.statistics(router.namespace)
    return said["invalid"] + said["icmp_error"]


@pytest.mark.parametrize("rules", ["", ONE_FAMILY])
def test_what_nothing_drops_is_a_gap_with_its_number(daemon: Start, router: Router, rules: str) -> None:
    """FIN, NULL, Xmas, RST, SYN-FIN, an unasked reply, a bad checksum, and routed IPv6: the far side got them from the
    inside address, no record tells of them, and one gap `untracked` says how many; also where one family is dropped."""
    router.namespace.run("nft", "-f", "-", text=rules)
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    auditor.wait_flushed()
    before, got = invalid(router), arrived(router)
    sent = scan(router, six=True)
    through = len(KINDS) * EACH if rules else sent
    wait_until(lambda: arrived(router) - got >= through, 5, "the far side got them")
    counted = invalid(router) - before
    assert counted >= sent
    wait_until(lambda: "untracked" in judged(auditor), 30, "the gap is on record")
    inside = router.instances[0]
    for address in (inside.address, inside.address6):
        assert auditor.search("--src", address) == []
        if address == inside.address6:
            assert not auditor.json("search", "--src", address)["coverage"]["complete"]
    again = scan(router, six=False)
    wait_until(lambda: invalid(router) - before >= counted + again, 5, "there are more")
    total = invalid(router) - before
    auditor.stop()
    assert judged(auditor) == {"untracked": total}


def test_what_is_dropped_is_no_hole(daemon: Start, router: Router) -> None:
    """With `ct state invalid drop` in the forward chain, for both families, the far side gets nothing; the gap has the
    other cause, and answers are complete. When the rule goes it is the first cause again."""
    router.namespace.run("nft", "-f", "-", text=DROP)
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    wait_until(lambda: auditor.status()["namespaces"][0]["state"] == "attached", 5, "it is looked at")
    scan(router, six=True)
    wait_until(lambda: judged(auditor), 30, "it is told")
    scan(router, six=True)
    wait_until(lambda: "untracked-dropped" in judged(auditor), 30, "the rule is known")
    assert arrived(router) == 0
    inside = router.instances[0]
    router.namespace.run("nft", "delete", "table", "inet", "invalid")
    scan(router, six=True)
    wait_until(lambda: arrived(router) > 0, 5, "the far side gets them")
    wait_until(lambda: len([g for g in auditor.gaps() if g["cause"] == "untracked" and not g["to"]]), 30, "it is told")
    assert not auditor.json("search", "--src", inside.address6)["coverage"]["complete"]
