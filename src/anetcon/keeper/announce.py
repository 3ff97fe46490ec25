"""Says in the daemon's own log what is audited: at the start, when a namespace comes or goes, and when none is there.

A line a namespace, while they are few. When more than FEW come and go within a minute, one line counts those that are
over: a start with 1,000 namespaces, and a test that makes and deletes them all day, are a line a minute. That nothing
is audited is said at once at the start, later once it has lasted a minute, and then again every hour.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from anetcon import __version__
from anetcon.link.settings import Settings
from anetcon.system.report import INFO, WARNING, report

FEW = 10
MINUTE, HOUR = 60.0, 3600.0
SHOWN = 5
"""So many patterns are named, the others counted."""

ATTACHED, GONE, DESELECTED = "attached", "let go, since deleted", "let go, since no longer selected"
STORE = "/var/lib/anetcon"
"""The store that `anetcon status` looks at when it is not told another."""


class Announcer:
    """`tell` what happens, `tick` once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lines: list[str] = []
        self._counts = dict.fromkeys((ATTACHED, GONE, DESELECTED), 0)
        self._minute = -MINUTE
        self._said = 0
        self._nothing = self._warned = -HOUR

    def tell(self, what: str, netns: str) -> None:
        """A namespace was attached, or let go."""
        self._counts[what] += 1
        if len(self._lines) <= FEW:
            self._lines.append(f"{netns}: {what}")

    def start(self, settings: Settings, audited: int, again: bool) -> None:
        """The daemon audits that many namespaces from now on; `again`: it goes on in place of another program."""
        how = "goes on" if again else "started"
        ask = "anetcon status" + ("" if settings.store == STORE else f" --store {settings.store}")
        report(
            f"{INFO}version {__version__} {how}: {auditing(settings, audited)}, engine {settings.engine}, store "
            f"{settings.store}; ask: {ask}"
        )
        if not audited:
            self.warn(settings)

    def tick(self, settings: Settings, audited: int) -> None:
        """Say what is to be said."""
        now = self._clock()
        if audited:
            self._nothing = now
        elif now >= self._nothing + MINUTE and now >= self._warned + HOUR:
            self.warn(settings)
        if now >= self._minute + MINUTE:
            self._minute, self._said = now, 0
        if self._said + sum(self._counts.values()) <= FEW:
            self._said += len(self._lines)
            self._say(self._lines)
        elif self._said <= FEW:
            self._minute, self._said = now, FEW + 1
            self._sum_up()

    def finish(self) -> None:
        """Say what has not been said yet: nobody else will."""
        self._say(self._lines) if len(self._lines) <= FEW else self._sum_up()

    def _sum_up(self) -> None:
        told = ", ".join(f"{number} {what}" for what, number in self._counts.items() if number)
        self._say([f"network namespaces: {told}; too many to name each, `anetcon status` has them"])

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            report(INFO + line)
        self._lines = []
        self._counts = dict.fromkeys(self._counts, 0)

    def warn(self, settings: Settings) -> None:
        """Say that nothing is audited."""
        self._warned = self._clock()
        report(
            f"{WARNING}nothing is recorded: no namespace in {settings.netns_dir} has a name that audit.namespaces "
            f"selects ({patterns(settings)}); see `ip netns list`; a plain gateway is audited with "
            f'namespaces = ["default"] under [audit] in {settings.file or "/etc/anetcon/anetcon.toml"}'
        )


def auditing(settings: Settings, audited: int) -> str:
    """What is audited, as part of a line."""
    return f"auditing {audited} network namespace{'s' * (audited != 1)} (audit.namespaces: {patterns(settings)})"


def patterns(settings: Settings) -> str:
    """Which namespaces are selected, in the words of the configuration."""
    given = settings.resolved["audit"]["namespaces"]
    more = [f"and {len(given) - SHOWN} more"] if len(given) > SHOWN else []
    return ", ".join([*given[:SHOWN], *more])
