"""Lines of this process to the daemon's log."""

from __future__ import annotations

import sys


def log(message: str) -> None:
    """One line to the daemon's log."""
    sys.stderr.write(f"anetcon-follow: {message}\n")
    sys.stderr.flush()
