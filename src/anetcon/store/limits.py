"""How large and how old a store may become, as configured. Imports next to nothing: who follows the journal reads its
settings before it may import libraries, which start threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anetcon.store.layout import DAY

DEFAULT_FREE, DEFAULT_SHARE = 1_000_000_000, 0.05


@dataclass(frozen=True)
class Limits:
    """What is configured: an age in microseconds, sizes in bytes; None: no limit, but of `free`: the default floor.
    `journal` is what is kept of the sealed journal for followers that are behind."""

    age: int | None = None
    size: int | None = None
    free: int | None = None
    journal: int = 2_048_000_000

    @classmethod
    def of(cls, store: dict[str, Any]) -> Limits:
        """Out of the resolved table `store`."""
        days, size, free = (store[name] for name in ("retention_days", "max_gigabytes", "min_free_gigabytes"))
        return cls(
            None if days is None else round(days * DAY),
            None if size is None else round(size * 1e9),
            None if free is None else round(free * 1e9),
            round(store["journal_megabytes"] * 1e6),
        )

    def floor(self, total: int) -> int:
        """The free bytes there are to be on a file system of `total` bytes."""
        return min(DEFAULT_FREE, round(total * DEFAULT_SHARE)) if self.free is None else self.free
