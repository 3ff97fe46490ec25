"""Lines of this process to the daemon's log: they are said as the keeper says its own, so that nothing waits for it."""

from __future__ import annotations

from anetcon.system.report import ERROR, NOTICE, debug, reporter
from anetcon.system.report import report as log

NAME = "anetcon-follow"

MORE_MEMORY = "give the service or the machine more memory"
"""What to do where memory does not do."""

__all__ = ["ERROR", "MORE_MEMORY", "NAME", "NOTICE", "debug", "log", "reporter"]
