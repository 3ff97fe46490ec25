"""The one table of causes: why something may be missing from the record, what that means, and what to do about it.

A gap is a row of the table `gaps`, and its `cause` is one of these. Whatever depends on a cause is a mark of it here:
no other module spells a cause (a test finds one). The reference page derives from this table. Standard library only.
"""

from __future__ import annotations

from enum import Flag, StrEnum, auto
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self


class Mark(Flag):
    """What a cause means: first for an answer, then for who deals with its gaps."""

    WHOLE = auto()
    """No connection is missing, so it makes no answer incomplete: something beside the connections themselves is
    missing or doubtful."""
    UNTRANSLATED = auto()
    """Only connections are missing that nothing translated. A question about a NAT address is complete all the same;
    any other is not."""
    NOTE = auto()
    """Where it makes an answer not incomplete, the answer tells of it nevertheless."""
    LIMIT = auto()
    """It is no hole, but what the record of a whole time cannot tell: as configured then, nothing went wrong."""
    ONE_SIDED = auto()
    """That is the public side of its connections, so that `who` needs their other end."""
    HEALS = auto()
    """It is no gap any more once it has ended with none lost: what was missing is on record."""
    NAMED = auto()
    """It counts only for a question that names its namespace: others are about those that are selected."""
    REPLACED = auto()
    """It was one only for what this daemon itself recorded: text that was imported of that time takes its place."""
    IMPORTED = auto()
    """It is such text."""
    SILENT = auto()
    """At its beginning everything that lasted was lost sight of."""
    RELISTS = auto()
    """Once the keeper has told that it is over, capture lists the connection table again."""
    LOCAL = auto()
    """It is a state of its namespace, and ends when capture lets go of that."""
    OUTLASTS = auto()
    """It does not end with capture: the next one takes it up."""
    TOLD = auto()
    """While it lasts, `anetcon status` has another way of telling it, or it is as somebody wants it."""


_NONE = Mark(0)
_STRANGE = "a cause that this version of the program does not know", "ask with the version that recorded it"


class Cause(StrEnum):
    """Why a gap is there: its name, as in the record, what that means, what to do, its marks; and the sysctl that is
    off. A name that the table does not have is of another version: it has no mark, so something is missing."""

    meaning: str
    todo: str
    marks: Mark
    sysctl: str

    def __new__(cls, name: str, meaning: str = "", todo: str = "", marks: Mark = _NONE, sysctl: str = "") -> Self:
        cause = str.__new__(cls, name)
        cause._value_ = name
        cause.meaning, cause.todo, cause.marks, cause.sysctl = meaning, todo, marks, sysctl
        return cause

    @classmethod
    def _missing_(cls, value: object) -> Cause | None:
        if not isinstance(value, str):
            return None
        cause: Cause = cls.__new_member__(cls, value, *_STRANGE)  # type: ignore[attr-defined]
        cause._name_ = value
        return cause

    @classmethod
    def having(cls, mark: Mark) -> frozenset[Cause]:
        """Every cause with that mark."""
        return frozenset(cause for cause in cls if mark in cause.marks)

    NEVER_RECORDED = (
        "never-recorded",
        "the time before this store had its first record",
        "nothing",
        Mark.REPLACED,
    )
    DAEMON_DOWN = (
        "daemon-down",
        "the daemon did not run, from what it wrote last to its next start",
        "see why it was stopped; capture recorded from a dump what was open when it came back",
        Mark.SILENT | Mark.REPLACED | Mark.TOLD,
    )
    CAPTURE_DOWN = (
        "capture-down",
        "the capture process died, and what it had read and not yet written is lost",
        "look in the log for why; nothing else was lost, since the sockets stayed open",
        Mark.SILENT | Mark.TOLD,
    )
    NOT_YET_WRITTEN = (
        "not-yet-written",
        "nothing of the window is on record yet: it is too recent, or in the future by this machine's clock",
        "ask again a few seconds later. If it is in the future, see whether your clock and this machine's agree",
        Mark.TOLD,
    )
    NOT_AUDITED = (
        "not-audited",
        "no namespace was audited, or none accounts for the address asked about. The address stood on no interface, "
        "no namespace translated to it before and after, and it is in no known network",
        "ask the machine that has the address; `anetcon status` says what is audited. If the address is one of a "
        "pool, name its network in `audit.public`",
    )
    NOT_ATTACHED = (
        "not-attached",
        "the keeper had not attached a namespace: it could not enter it, or the namespace was already there and in use",
        "see `anetcon status` for namespaces in state `retrying`",
        Mark.TOLD,
    )
    DESELECTED = (
        "deselected",
        "the configuration stopped selecting a namespace that is still there. It counts only for a question that "
        "names the namespace",
        "select it again in `audit.namespaces` if it should be recorded",
        Mark.NAMED | Mark.TOLD,
    )
    NAMESPACE_GONE = (
        "namespace-gone",
        "a namespace vanished, and capture could not take its last dump: ends at that moment are missing",
        "nothing",
    )
    CONNTRACK_INACTIVE = (
        "conntrack-inactive",
        "no rule in the namespace uses connection tracking, or no longer does, so the kernel does not track",
        "add a rule that does, or set `activate_conntrack = true`",
        Mark.LOCAL | Mark.TOLD,
    )
    OVERRUN = (
        "overrun",
        "events (or kernel lines) came faster than capture read them, and the kernel dropped that many",
        "give the machine more processor time, or larger buffers; see [hold or shed](../explanation/hold-or-shed.md)",
        Mark.RELISTS,
    )
    STARTS_OFF = (
        "starts-off",
        "events came faster than capture read them, and starts were dropped or not delivered. Open connections may "
        "be missing until capture has listed the table. Once that is on record, the gap is none any more. It stays "
        "one if the daemon ended before, or if ends were lost as well",
        "nothing; if it comes often, give the machine more processor time, or larger buffers",
        Mark.HEALS | Mark.OUTLASTS,
    )
    EVENTS_OFF = (
        "events-off",
        "somebody switched `nf_conntrack_events` off in the namespace. The kernel announced no connection created "
        "meanwhile, and never reports its end. Capture recorded those still open afterwards from a dump",
        "find out who sets it; the keeper put it back at once and said so in the log",
        Mark.RELISTS,
        "nf_conntrack_events",
    )
    TIMESTAMPS_OFF = (
        "timestamps-off",
        "somebody switched `nf_conntrack_timestamp` off. Connections created meanwhile are recorded, with the "
        "daemon's clock for the times that the kernel did not keep",
        "find out who sets it; the keeper put it back at once",
        Mark.WHOLE,
        "nf_conntrack_timestamp",
    )
    COUNTERS_OFF = (
        "counters-off",
        "somebody switched `nf_conntrack_acct` off. Connections created meanwhile are recorded without packets and "
        "bytes",
        "find out who sets it; the keeper put it back at once",
        Mark.WHOLE,
        "nf_conntrack_acct",
    )
    TRACKING_OFF = (
        "tracking-off",
        "a rule in the namespace takes packets out of connection tracking (`notrack`), or events away from "
        "connections (`ct event set`, `CT --ctevents`). Nobody can know how many it hides",
        "the daemon's log and `anetcon status` name the rule's table: remove it, or accept what it hides",
        Mark.LOCAL,
    )
    TABLE_FULL = (
        "table-full",
        "the connection table was full. The kernel refused that many new connections and dropped their packets, so "
        "they never came to be. What it evicted to make room is recorded, as `evicted`",
        "raise `nf_conntrack_max`, or lower the timeouts of connection tracking",
    )
    LISTENER_STUCK = (
        "listener-stuck",
        "another program that listens for connections in reliable mode does not read. The kernel repeats ends and "
        "keeps ended connections in its table, which may fill. Capture records once what is repeated",
        "find the program (`ss -A netlink -p`, a full receive queue) and restart it",
        Mark.WHOLE | Mark.LOCAL,
    )
    UNTRACKED = (
        "untracked",
        "that many packets crossed the router outside of any connection, because conntrack calls them invalid. The "
        "kernel counts them, translates none and announces nothing, so what they said is not recorded",
        "drop them: a rule `ct state invalid drop` in the forward chain (`anetcon doctor` says where it is missing)",
        Mark.UNTRANSLATED | Mark.NOTE,
    )
    UNTRACKED_DROPPED = (
        "untracked-dropped",
        "that many packets were invalid to conntrack, and the forward chain drops such packets (`ct state invalid`): "
        "they went nowhere",
        "nothing",
        Mark.WHOLE | Mark.NOTE,
    )
    UNTRACKED_LEFT = (
        "untracked-left",
        "that many packets that conntrack calls invalid left the router; our rule counted them "
        "(`audit.record_invalid`). Rows of origin `packet` are a sample of them",
        "nothing",
        Mark.WHOLE | Mark.NOTE,
    )
    UNDECODABLE = (
        "undecodable",
        "capture could not read that many messages of the kernel",
        "report it, with the kernel's version",
    )
    CLOCK_STEP = (
        "clock-step",
        "somebody set the wall clock forwards or backwards. Times between `from` and `to` were skipped or came "
        "twice, so what is recorded there may lie elsewhere by that much",
        "have the clock slewed rather than stepped (`chronyc makestep` only at boot)",
    )
    SUSPENDED = (
        "suspended",
        "the machine slept: it forwarded nothing, and nothing is missing",
        "nothing",
        Mark.WHOLE,
    )
    RULES_MISSING = (
        "rules-missing",
        "our LOG rules were not in place (wiped, altered or moved), so the kernel wrote no lines",
        "the daemon repaired them; see what rewrites the table, or use the engine `conntrack`, which needs none",
    )
    LEFT_OUT = (
        "left-out",
        "the configuration left connections out: those that `protocols` or `networks` do not name, or with `record "
        '= ["end"]` those that have not ended yet',
        "nothing, if that is wanted; else widen `audit.protocols`, `audit.networks` or `audit.record`",
        Mark.LIMIT | Mark.LOCAL,
    )
    LOG_ENGINE = (
        "log-engine",
        "an engine that reads kernel lines was running: ends, counters and the public side of a translation are not "
        "recorded",
        "use the engine `conntrack`; `who` finds what may have been the connection by `--to`",
        Mark.LIMIT | Mark.ONE_SIDED,
    )
    IMPORTED_LINES = (
        "imported-lines",
        "imported text, no public ports: all that is known of that time are kernel lines that `anetcon import` "
        "read. They have no ends, no counters and no public side of a translation, nor what was not logged",
        "nothing; `who` finds what may have been the connection by `--to`",
        Mark.LIMIT | Mark.ONE_SIDED | Mark.IMPORTED,
    )
    IMPORTED_EVENTS = (
        "imported-events",
        "imported text with both sides of each translation (`conntrack -E`, or our own text logs). Nobody knows "
        "what its listener missed, and some connections have no end",
        "nothing",
        Mark.LIMIT | Mark.IMPORTED,
    )
    NEIGHBOURS_FLOOD = (
        "neighbours-flood",
        "more than 1,000 neighbours a minute appeared on an interface. That many changes are not recorded, so the "
        "MAC address behind an inner address of that time may be missing",
        "find out who floods the segment: the daemon's log names the interface",
        Mark.WHOLE | Mark.NOTE,
    )
    ROUTES_UNKNOWN = (
        "routes-unknown",
        "the namespace has more than 1,000 routes, or one that capture cannot read. Nothing records which networks "
        "are connected to it or routed behind it",
        "nothing; an answer about an address that only such a network accounts for is not complete",
        Mark.WHOLE | Mark.LOCAL,
    )
    DISK_FULL = (
        "disk-full",
        "capture could not write the journal for so long that it had to drop records",
        "free space, or set `store.max_gigabytes`",
        Mark.TOLD,
    )
    JOURNAL_DAMAGED = (
        "journal-damaged",
        "a part of the journal cannot be read back, since its checksum disagrees: what was written there is lost",
        "check the disk; everything outside these bounds is whole",
    )
    RETENTION = (
        "retention",
        "as configured, the sealer removed records: they were too old, or over the size of the store. They are "
        "connections, or what was known of addresses, neighbours and routes",
        "raise `store.retention_days` or `store.max_gigabytes`",
    )
    SINK_BEHIND = (
        "sink-behind",
        "a sink was so far behind that follow gave up for it what it had not taken yet. The record itself is whole",
        "see why the sink is slow or refuses",
        Mark.WHOLE,
    )


WHOLE, UNTRANSLATED, NOTES = (Cause.having(mark) for mark in (Mark.WHOLE, Mark.UNTRANSLATED, Mark.NOTE))
LIMITS, ONE_SIDED, HEALING = (Cause.having(mark) for mark in (Mark.LIMIT, Mark.ONE_SIDED, Mark.HEALS))
REPLACED, IMPORTED, NAMED = (Cause.having(mark) for mark in (Mark.REPLACED, Mark.IMPORTED, Mark.NAMED))


class Gap(NamedTuple):
    """A row of the table `gaps`: from `start` to `end` (microseconds) something may be missing.

    None for `netns` or `node`: of all; for `start`: from the beginning; for `end`: it lasts; for `lost`: who knows.
    """

    netns: str | None
    start: int | None
    end: int | None
    cause: Cause
    lost: int | None = None
    node: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Gap:
        """What such a row says."""
        return cls(row["netns"], row["from"], row["to"], Cause(row["cause"]), row["lost"], row["node"])

    def row(self) -> dict[str, Any]:
        """By the names of the table's columns."""
        bounds = {"from": self.start, "to": self.end}
        return {"node": self.node, "netns": self.netns, **bounds, "cause": self.cause, "lost": self.lost}
