"""How many namespaces the limit of open files leaves room for."""

from __future__ import annotations

import resource

EACH_FILES = 10
"""Descriptors that the keeper has open for a namespace: its sockets, and what `inside` has; with `sampling` one
more."""
KEPT_FILES = 64
"""Descriptors that namespaces never take: those of the keeper itself, and of the children that it starts."""


def most_namespaces(samples: bool) -> int:
    """How many namespaces the limit of open files leaves room for."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(0, limit - KEPT_FILES) // (EACH_FILES + samples)
