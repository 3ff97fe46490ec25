"""Where lines for people leave the program: each stays one line, and harmless, whatever text of others is in it."""

from __future__ import annotations

import json
import sys
from typing import Any

from anetcon.system.printable import visible


def say(*lines: str) -> None:
    """Lines on standard output."""
    sys.stdout.write("".join(f"{visible(line)}\n" for line in lines))
    sys.stdout.flush()


def print_json(answer: Any) -> None:
    """An answer for programs on standard output, in ASCII."""
    sys.stdout.write(json.dumps(answer, indent=1) + "\n")


def warn(*lines: str) -> None:
    """Lines on standard error."""
    sys.stderr.write("".join(f"{visible(line)}\n" for line in lines))
    sys.stderr.flush()
