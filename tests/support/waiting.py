"""Waiting in tests: poll a condition until a deadline, never sleep for a fixed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_NEVER = threading.Event()
_PATIENCE = 40.0
"""Seconds that anything may take on a busy machine, which says nothing about what is tested. The limit of a test is
longer, so that a failure says what did not come."""


def wait_until(condition: Callable[[], T], seconds: float, what: str, every: float = 0.01) -> T:
    """The first true value of `condition`. AssertionError naming `what` when there was none for much longer than the
    `seconds` that it may take on a quiet machine."""
    deadline = time.monotonic() + max(seconds, min(8 * seconds, _PATIENCE))
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds} s: {what}; last value {value!r}")
        _NEVER.wait(every)
    return value
