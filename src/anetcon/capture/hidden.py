"""While a rule hides connections (`hiding`) a gap lasts: looked for at attach and whenever the ruleset has changed.

The keeper tells of changes, at most once a second. The gap begins when the ruleset was last known to be another one.
Refuses to change any rule: it is somebody's.
"""

from __future__ import annotations

from anetcon.capture.keeper import KeeperLink
from anetcon.capture.lasting import Lasting
from anetcon.capture.namespace import Namespace
from anetcon.capture.requests import Job, Requests
from anetcon.capture.tracking import Tracking
from anetcon.capture.untracked import Untracked
from anetcon.gaps import Cause
from anetcon.netlink import hiding, invalid
from anetcon.netlink.dump import NFGENMSG_UNSPEC, NFT_MSG_GETCHAIN, NFT_MSG_GETTABLE, Exchange
from anetcon.netlink.invalid import BOTH, Does, Ruled
from anetcon.system.report import NOTICE, WARNING, report

SHOWN = 3
"""Rules that a message names."""


class Ruleset:
    """Of all namespaces. What else depends on rules is told: whether any needs connection tracking, and whether the
    forward chain drops what is invalid."""

    def __init__(
        self, requests: Requests, lasting: Lasting, keeper: KeeperLink, tracking: Tracking, untracked: Untracked
    ) -> None:
        self._requests = requests
        self._lasting = lasting
        self._keeper = keeper
        self._tracking = tracking
        self._untracked = untracked

    def changed(self, namespace: Namespace, since: int, legacy: list[tuple[str, str, int, int]]) -> None:
        """The ruleset is another one than it was at `since`. `legacy`: the targets of iptables-legacy that netlink does
        not show (`anetcon.netlink.xtables`)."""
        hidden = [what for target in legacy for what in [hiding.legacy(*target)] if what is not None]
        ruled: list[Ruled] = []

        def done(answered: bool) -> None:
            if answered:
                self._judge(namespace, since, hidden)
                tracking = [rule for rule in ruled if rule.tracks]
                families = BOTH & {name for rule in tracking for name in invalid.FAMILIES.get(rule.family, ())}
                self._tracking.judged(namespace, bool(tracking), families, since)
            if answered and any(rule.does is Does.DROPS for rule in ruled):
                self._find_dropped(namespace, since, ruled)
            else:
                self._untracked.dropped(namespace, frozenset(), since, self._requests.clock())

        question = hiding.rules(hidden.append, ruled.append)
        self._requests.ask(Job(namespace, question, done))

    def _find_dropped(self, namespace: Namespace, since: int, ruled: list[Ruled]) -> None:
        """Which chains these rules are in says whether a packet that is invalid meets them."""
        chains: list[bytes] = []
        tables: list[bytes] = []
        whole: list[bool] = []

        def done(answered: bool) -> None:
            families = invalid.dropped(ruled, chains, tables) if answered and all(whole) else frozenset()
            self._untracked.dropped(namespace, families, since, self._requests.clock())

        for kind, take, then in ((NFT_MSG_GETCHAIN, chains, whole.append), (NFT_MSG_GETTABLE, tables, done)):
            self._requests.ask(Job(namespace, Exchange(kind, NFGENMSG_UNSPEC, take.extend), then))

    def _judge(self, namespace: Namespace, since: int, hidden: list[str]) -> None:
        lasts = self._lasting.lasts(namespace.netns, Cause.TRACKING_OFF)
        if hidden:
            more = f" and {len(hidden) - SHOWN} more" if len(hidden) > SHOWN else ""
            what = "; ".join(hidden[:SHOWN]) + more
            self._keeper.remark(namespace, Cause.TRACKING_OFF, what)
            self._lasting.begin(namespace.netns, Cause.TRACKING_OFF, since)
            if not lasts:
                report(
                    f"{WARNING}{namespace.netns}: {what}: what passes there is not recorded; remove it, or accept that"
                )
        elif lasts:
            self._keeper.remark(namespace, Cause.TRACKING_OFF, None)
            self._lasting.end(namespace.netns, Cause.TRACKING_OFF, self._requests.clock().wall)
            report(f"{NOTICE}{namespace.netns}: no rule hides connections any more")
