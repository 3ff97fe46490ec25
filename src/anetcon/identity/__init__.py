"""Which rows of the journal are one connection. Pure functions over columns: no clock, no socket.

A connection is (node, namespace inode, original tuple, zone, kernel start). The journal tells of it up to three ways:
an *opener* (a START event, or a DUMP row when it was found open) and an END, each possibly repeated. `merge` makes one
row of them. Of the rows of one tuple:

1. ENDs are copies of one another when their kernel starts are equal to the microsecond; the first is kept. Two ENDs
   with different starts are two connections, however near: a reset tuple can be used again within milliseconds.
2. An opener belongs to the END whose kernel start is nearest and within 1 s; each END takes the nearest such opener.
   Any other opener belongs to an END only if it lies within that END's lifetime: the tuple was taken then, so it is
   a repeat. One outside is another connection, whose own END is still to come.
3. An END whose start the kernel did not give (start equal to end, or origin dump) and that found no opener takes
   every opener of its tuple left before it. Such an END has the start and origin of its earliest opener, if that
   started before: typically a DUMP row that had no kernel start either. Copies of it carry our clock, each another
   time: those within 1 s of one another are one. An END with the time at which a listing found its connection
   (`start_is` is found) also takes what earlier listings, or a START, had of the same conntrack id, up to the END
   before: the connection is older than any of them.
4. Openers left over are open. Those within 1 s of one another are one, and so is a DUMP with the conntrack id of the
   opener before it (a connection without a kernel start, dumped twice), as long as no END lies between. Kept is the
   earliest, a START rather than a DUMP.

A row of origin log or import is none of these: it is one line of text, a connection by itself, over as soon as it is
there (its end is not known). It is compared with nothing, is never open, and two that are equal are two. So is one of
origin packet: that packet alone.

An END's values win in every other case. No two rows are ever matched by hash alone: the tuple is compared.

`Tracker` says the same of a live stream, where each row is compared with the last two connections of its tuple only.

tuples.py       the tuple as columns of numbers, its keyed hash
connections.py  `merge`: rows of a journal or store to one row a connection
intervals.py    the same for the other tables, whose rows are intervals
reconcile.py    the rules above, for the few rows that are not simply one START and one END
tracker.py      `Tracker`: a live stream's rows judged as first, repeat or end
verdicts.py     the rules of that
"""

from anetcon.identity.connections import merge as merge
from anetcon.identity.intervals import SILENT as SILENT
from anetcon.identity.intervals import cut_intervals as cut_intervals
from anetcon.identity.intervals import merge_intervals as merge_intervals
from anetcon.identity.tracker import Tracker as Tracker
from anetcon.identity.tuples import flow_hash as flow_hash
from anetcon.identity.verdicts import Verdict as Verdict
