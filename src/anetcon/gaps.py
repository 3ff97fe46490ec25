"""The one table of causes: why something may be missing from the record, and what to do about it.

A gap is a record (`record.GAPS`) whose `cause` is one of these names, as text. The reference page derives from this
table; a test finds a cause that the source uses and the table does not have. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GapCause:
    """Why a gap is there, and what that means for an answer.

    - `whole`: no connection is missing, so it makes no answer incomplete: something beside the connections themselves
      is missing or doubtful.
    - `untranslated`: only connections are missing that nothing translated. A question about a NAT address is complete
      all the same; any other is not.
    - `note`: where it makes an answer not incomplete, the answer tells of it nevertheless.
    - `limit`: it is no hole, but what the record of a whole time cannot tell: as configured then, nothing went wrong.
    - `one_sided`: that is the public side of its connections, so that `who` needs their other end.
    - `heals`: it is no gap any more once it has ended with none lost: what was missing is on record.
    """

    name: str
    meaning: str
    todo: str
    whole: bool = False
    untranslated: bool = False
    note: bool = False
    limit: bool = False
    one_sided: bool = False
    heals: bool = False


_CAUSES = (
    GapCause("never-recorded", "the time before this store had its first record", "nothing"),
    GapCause(
        "daemon-down",
        "the daemon did not run; from what it had written last to its next start",
        "see why it was stopped; what was open when it came back was recorded from a dump",
    ),
    GapCause(
        "capture-down",
        "the capture process died and what it had read and not yet written is lost",
        "look in the log for why; nothing else was lost, since the sockets stayed open",
    ),
    GapCause(
        "not-yet-written",
        "none of the time asked about is on record yet: it is that recent, or in the future by this machine's clock",
        "ask again a few seconds later; where it is in the future, see whether the clocks of who asks and of this "
        "machine agree",
    ),
    GapCause(
        "not-audited",
        "no namespace was audited, or nothing that was audited accounts for the address that was asked about: it stood "
        "on no interface, was not seen to be translated before and after, and is in no network that is known",
        "ask the machine that has the address; see `anetcon status` for what is audited, or, where the address is one "
        "of a pool, name its network in `audit.public`",
    ),
    GapCause(
        "not-attached",
        "a namespace was not watched: it appeared while it could not be entered, or was already there and in use",
        "see `anetcon status` for namespaces in state `retrying`",
    ),
    GapCause(
        "deselected",
        "the configuration stopped selecting a namespace that is still there; counts only for a question that names it",
        "select it again in `audit.namespaces` if it should be recorded",
    ),
    GapCause(
        "namespace-gone",
        "a namespace vanished and its last table could not be listed: ends at that moment are missing",
        "nothing",
    ),
    GapCause(
        "conntrack-inactive",
        "no rule in the namespace uses connection tracking, or no longer, so the kernel does not track",
        "add a rule that does, or set `activate_conntrack = true`",
    ),
    GapCause(
        "overrun",
        "events (or kernel lines) came faster than they were read, and the kernel dropped that many",
        "give the machine more processor time, or larger buffers; see [hold or shed](../explanation/hold-or-shed.md)",
    ),
    GapCause(
        "starts-off",
        "starts of connections were not delivered, or dropped, because events came faster than they were read: "
        "connections that are open may be missing until the table has been listed. It is a gap no more once that is on "
        "record; it stays one where it could not be: the daemon ended before, or ends were lost as well",
        "nothing; if it comes often, give the machine more processor time, or larger buffers",
        heals=True,
    ),
    GapCause(
        "events-off",
        "somebody switched `nf_conntrack_events` off in the namespace: connections created meanwhile were not "
        "announced and never report their end; those still open when it was noticed were recorded from a dump",
        "find out who sets it (the daemon put it back at once and says so in its log)",
    ),
    GapCause(
        "timestamps-off",
        "somebody switched `nf_conntrack_timestamp` off: connections created meanwhile are recorded, with the "
        "daemon's clock for the times the kernel did not keep",
        "find out who sets it; it was put back at once",
        whole=True,
    ),
    GapCause(
        "counters-off",
        "somebody switched `nf_conntrack_acct` off: connections created meanwhile are recorded without packets and "
        "bytes",
        "find out who sets it; it was put back at once",
        whole=True,
    ),
    GapCause(
        "tracking-off",
        "a rule in the namespace takes packets out of connection tracking (`notrack`), or takes events away from "
        "connections (`ct event set`, `CT --ctevents`); how many it hides cannot be known",
        "the daemon's log and `anetcon status` name the rule's table: remove it, or accept what it hides",
    ),
    GapCause(
        "table-full",
        "the connection table was full: the kernel refused that many new connections and dropped their packets "
        "(refused ones never came to be); what it evicted to make room is no gap: it is recorded, as `evicted`",
        "raise `nf_conntrack_max`, or lower the timeouts of connection tracking",
    ),
    GapCause(
        "listener-stuck",
        "another program that listens for connections in reliable mode does not read: the kernel repeats ends and "
        "keeps ended connections in its table, which may fill; what is repeated is recorded once",
        "find the program (`ss -A netlink -p`, a full receive queue) and restart it",
        whole=True,
    ),
    GapCause(
        "untracked",
        "that many packets crossed the router outside of any connection, because conntrack calls them invalid: the "
        "kernel counts them, translates none of them and announces nothing; what they said is not recorded",
        "drop them: a rule `ct state invalid drop` in the forward chain (`anetcon doctor` says where it is missing)",
        untranslated=True,
        note=True,
    ),
    GapCause(
        "untracked-dropped",
        "that many packets were invalid to conntrack, and the forward chain drops such packets (`ct state invalid`): "
        "they went nowhere",
        "nothing",
        whole=True,
        note=True,
    ),
    GapCause(
        "untracked-left",
        "that many packets that conntrack calls invalid left the router, counted by our rule (`audit.record_invalid`); "
        "rows of origin `packet` are a sample of them",
        "nothing",
        whole=True,
        note=True,
    ),
    GapCause(
        "undecodable",
        "that many messages of the kernel could not be read",
        "report it, with the kernel's version",
    ),
    GapCause(
        "clock-step",
        "the wall clock was set forwards or backwards: times between `from` and `to` were skipped or came twice, so "
        "what is recorded there may lie elsewhere by that much",
        "have the clock slewed rather than stepped (`chronyc makestep` only at boot)",
    ),
    GapCause(
        "suspended",
        "the machine slept: it forwarded nothing, and nothing is missing",
        "nothing",
        whole=True,
    ),
    GapCause(
        "rules-missing",
        "our LOG rules were not in place (wiped, altered or moved), so the kernel wrote no lines",
        "they were repaired; see what rewrites the table, or use the engine `conntrack`, which needs none",
    ),
    GapCause(
        "left-out",
        "the configuration left connections out: those that `protocols` or `networks` do not name, and with "
        '`record = ["end"]` those that have not ended yet',
        "nothing, where that is wanted; else widen `audit.protocols`, `audit.networks` or `audit.record`",
        limit=True,
    ),
    GapCause(
        "log-engine",
        "an engine that reads kernel lines was running: ends, counters and the public side of a translation are not "
        "recorded",
        "use the engine `conntrack`; `who` finds what may have been the connection by `--to`",
        limit=True,
        one_sided=True,
    ),
    GapCause(
        "imported-lines",
        "imported text, no public ports: all that is known of that time are kernel lines that `anetcon import` read; "
        "ends, counters and the public side of a translation are not in them, nor what was not logged",
        "nothing; `who` finds what may have been the connection by `--to`",
        limit=True,
        one_sided=True,
    ),
    GapCause(
        "imported-events",
        "imported text with both sides of each translation (`conntrack -E`, or our own text logs): what its listener "
        "missed is not known, and some connections have no end",
        "nothing",
        limit=True,
    ),
    GapCause(
        "neighbours-flood",
        "more than 1,000 neighbours a minute appeared on an interface; that many changes are not recorded, "
        "and the one behind an inner address of that time may be missing",
        "find out who floods the segment: the daemon's log names the interface",
        whole=True,
        note=True,
    ),
    GapCause(
        "routes-unknown",
        "the namespace has more than 1,000 routes, or one that cannot be read: which networks are connected to it or "
        "routed behind it is not recorded",
        "nothing; an answer about an address that only such a network accounts for is not complete",
        whole=True,
    ),
    GapCause(
        "disk-full",
        "the journal could not be written for so long that records had to be dropped",
        "free space, or set `store.max_gigabytes`",
    ),
    GapCause(
        "journal-damaged",
        "a part of the journal cannot be read back (its checksum disagrees): what was written there is lost",
        "check the disk; everything outside these bounds is whole",
    ),
    GapCause(
        "retention",
        "records older than the retention, or over the size the store may have, were deleted as configured:"
        " connections, or what was known of addresses, neighbours and routes",
        "raise `store.retention_days` or `store.max_gigabytes`",
    ),
    GapCause(
        "sink-behind",
        "a sink was so far behind that what it had not taken yet was given up for it; the record itself is whole",
        "see why the sink is slow or refuses",
        whole=True,
    ),
)

CAUSES = {cause.name: cause for cause in _CAUSES}
"""Every cause by name, in the order of the reference page."""

WHOLE = frozenset(cause.name for cause in _CAUSES if cause.whole)
"""Causes for which no connection is missing."""

UNTRANSLATED = frozenset(cause.name for cause in _CAUSES if cause.untranslated)
"""Causes for which no connection of a NAT address is missing."""

NOTES = frozenset(cause.name for cause in _CAUSES if cause.note)
"""Causes that an answer tells of also where they do not make it incomplete."""

HEALING = frozenset(cause.name for cause in _CAUSES if cause.heals)
"""Causes of gaps that are none any more once they have ended with none lost."""

LIMITS = frozenset(cause.name for cause in _CAUSES if cause.limit)
"""Causes that say what the record of a time cannot tell."""

ONE_SIDED = frozenset(cause.name for cause in _CAUSES if cause.one_sided)
"""Those of them that hide the public side."""

IMPORTED_LINES, IMPORTED_EVENTS = "imported-lines", "imported-events"
