"""The two text logs: one line a connection, at its start, or at its end or dump if that is the first known of it.

`anetcon.nat.log` has class nat, `anetcon.float.log` class float; `local` connections are in the store only, and so are
packets that belong to no connection.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa

from anetcon.follow.settings import Settings
from anetcon.follow.sinks.appended import Files
from anetcon.follow.sinks.hash_file import HashFile
from anetcon.follow.sinks.lines import Lines
from anetcon.follow.sinks.lines import Settings as LineSettings
from anetcon.follow.sinks.rows import are
from anetcon.identity import Verdict
from anetcon.identity.tuples import Array, numbers
from anetcon.record import Class, Origin, label

FILES = {Class.NAT: "anetcon.nat.log", Class.FLOAT: "anetcon.float.log"}


class TextLogs(Files):
    """The sink of both, and of the file that lists namespaces."""

    columns: Collection[str] = ("netns", "class", "nat_src_ip", "nat_src_port", "nat_dst_ip", "nat_dst_port")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.folder, FILES.values())
        self._hashes = HashFile(settings.hash_file)
        prefixes = settings.prefix, settings.prefix_dnat, settings.prefix_other
        self._lines = Lines(LineSettings(settings.node, *prefixes, settings.namespace_hash))

    def take(self, rows: pa.RecordBatch, verdicts: Array) -> int:
        """Write the lines of those that are first known now."""
        first = (verdicts == Verdict.FIRST) & ~are(rows, "origin", [label(Origin.PACKET)])
        classes = numbers(rows["class"].indices)
        self._hashes.add(rows["netns"].dictionary.to_pylist())
        chosen = [np.flatnonzero(first & (classes == kind)) for kind in FILES]
        together = np.concatenate(chosen)
        if not len(together):
            return 0
        lines = self._lines.of(rows, together, classes[together])  # of all files: few long columns cost less
        at = 0
        for name, these in zip(FILES.values(), chosen, strict=True):
            self.write(name, lines.slice(at, len(these)))
            at += len(these)
        return at
