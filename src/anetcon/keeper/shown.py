"""What status.json says of one namespace."""

from __future__ import annotations

import json

from anetcon.link import counters
from anetcon.system.clock import now_us, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from anetcon.keeper.namespace import Namespace

INACTIVE = "no rule here uses conntrack, so nothing is tracked; audit.activate_conntrack = true would make it run"

LATEST = 253_402_300_799_999_999
"""The last microsecond of the year 9999: capture may write any number into the memory it shares."""

COUNTED = counters.SLOT[:-1]


class Shown:
    """What is shown of one namespace: as JSON, made anew only when something of it changed."""

    __slots__ = ("_made_of", "_since", "_state", "is_old", "text")

    def __init__(self) -> None:
        self.text = ""
        self.is_old = True
        self._made_of: tuple[object, ...] = ()
        self._state = ""
        self._since = 0

    def outdated(self) -> None:
        """Something other than a counter may have changed."""
        self.is_old = True

    def update(self, namespace: Namespace, state: str, row: tuple[int, ...]) -> str:
        """The text; `row` are its counters."""
        self.is_old = False
        rules = namespace.rules
        message = (namespace.refusal.why if namespace.refusal else "") or "; ".join(namespace.remarks.values())
        message = message or (INACTIVE if state == counters.STATES[1] else "")
        made_of = row, state, message, rules and (rules.checked, rules.repaired)
        if made_of == self._made_of:
            return self.text
        if state != self._state:
            self._since = now_us() if self._state else namespace.since
        self._made_of, self._state = made_of, state
        entry = {
            "netns": namespace.netns,
            "inode": namespace.inode,
            "state": state,
            "since": text(self._since),
            "message": message or None,
        }
        if rules is not None and rules.checked:
            entry["rules"] = {"checked": time(rules.checked), "repaired": time(rules.repaired)}
        self.text = json.dumps(entry | dict(zip(COUNTED, row, strict=False)))
        return self.text


def time(us: int) -> str | None:
    """A time as JSON has it; None for 0."""
    return text(min(us, LATEST)) if us else None
