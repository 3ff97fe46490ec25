"""A compactor in little memory: to be imported before pyarrow is.

With malloc as Arrow's allocator a day takes 300 MB at most, and a fifth more without (measured, 4 million rows). One
thread: it is to be no trouble to others.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from anetcon.store.limits import Limits

if TYPE_CHECKING:
    from anetcon.store.compact import Compactor


def compactor(store: Path, limits: Limits) -> Compactor:
    """What compacts a store."""
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    import pyarrow as pa

    from anetcon.store.compact import Compactor

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    return Compactor(store, limits)
