"""Connections for which the kernel has no start time, since they are older than its timestamps: when each was first
seen, by its tuple. Few, and looked up one by one.
"""

from __future__ import annotations

from anetcon.capture.namespace import Namespace


class Ageless:
    """Of all namespaces. A tuple is as `pipeline.key` makes it. Times in microseconds of wall clock."""

    def __init__(self) -> None:
        self._seen: dict[Namespace, dict[bytes, tuple[int, bytes]]] = {}

    def remember(self, namespace: Namespace, known: bytes, now: int, row: bytes) -> int:
        """It is in the table, with this row; when it was first seen."""
        return self._seen.setdefault(namespace, {}).setdefault(known, (now, row))[0]

    def first_seen(self, namespace: Namespace, known: bytes, otherwise: int) -> int:
        """When it was; `otherwise`: it never was."""
        return self._seen.get(namespace, {}).get(known, (otherwise, b""))[0]

    def end(self, namespace: Namespace, known: bytes, otherwise: int) -> int:
        """It has ended: when it was first seen; `otherwise`: it never was."""
        return self._seen.get(namespace, {}).pop(known, (otherwise, b""))[0]

    def any(self, namespace: Namespace) -> bool:
        """Whether there are such connections."""
        return bool(self._seen.get(namespace))

    def keep(self, namespace: Namespace, there: set[bytes]) -> list[bytes]:
        """Forget all but these; the rows of the others."""
        seen = self._seen.get(namespace, {})
        return [seen.pop(known)[1] for known in seen.keys() - there]

    def forget(self, namespace: Namespace) -> None:
        """It is gone."""
        self._seen.pop(namespace, None)
