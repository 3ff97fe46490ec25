"""Waiting in tests: poll a condition until a deadline, never sleep for a fixed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_NEVER = threading.Event()


def wait_until(condition: Callable[[], T], seconds: float, what: str, every: float = 0.01) -> T:
    """The first true value of `condition`; AssertionError naming `what` when there was none within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds} s: {what}; last value {value!r}")
        _NEVER.wait(every)
    return value
