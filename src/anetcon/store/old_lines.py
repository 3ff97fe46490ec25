"""Lines of a manifest as older versions wrote them, said as the commits of today that mean the same. Pure.

Three kinds of line were commits. None names everything that it removes:

    seal       what was open, and the month or part that a file of the same month or part takes the place of
    import     the same but for what is open; also the files of earlier imports that it names as `replaced`
    retention  what was over by its time `before` (`State.over`)

Nothing here may change: an older store would count other files than it did.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from anetcon.store import layout
from anetcon.store.entry import COMMIT, Entry, Why, microseconds, rfc3339
from anetcon.store.state import State


def as_commit(state: State, files: Sequence[Entry], line: Entry) -> tuple[Sequence[Entry], Entry]:
    """What a line adds of the files that were named before it, and the commit that it is."""
    why = Why(line.kind)
    if why is Why.RETENTION:
        before = line.before or rfc3339(0)
        removes = [entry.file for entry in state.over(microseconds(before))]
        return (), _commit(line, why, removes, seal=state.seal, through=state.through, before=before)
    slots = {layout.slot_of_file(entry.file) for entry in files}
    if why is Why.SEAL:
        slots.add("open")
    removes = [state.snapshots[slot].file for slot in sorted(slots & state.snapshots.keys())]
    if line.replaced:
        of_imports = state.connections.of_seals(state.imports)
        removes += sorted({entry.file for entry in of_imports}.intersection(line.replaced))
    return files, _commit(line, why, removes)


def _commit(line: Entry, why: Why, removes: Sequence[str], **changes: object) -> Entry:
    return msgspec.structs.replace(line, kind=COMMIT, why=why, removes=tuple(removes), replaced=(), **changes)
