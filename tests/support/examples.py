"""How many examples a property test tries: `ANETCON_EXAMPLES` or a share of it. `make check` and `make fuzz` set it."""

from __future__ import annotations

import os

from hypothesis import settings

EXAMPLES = int(os.environ.get("ANETCON_EXAMPLES", "100"))
"""Of each property test."""


def examples(share: float) -> settings:
    """As many as this share of the usual: few where an example takes long, more where one takes no time."""
    return settings(max_examples=max(1, round(share * EXAMPLES)))
