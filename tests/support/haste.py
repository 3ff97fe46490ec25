"""What a daemon of root's needs so that its children may come before other processes."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

CAP_SYS_NICE = 1 << 23
_RAISE = "import resource; resource.setrlimit(resource.RLIMIT_NICE, (40, 40))"


@cache
def needed() -> int:
    """CAP_SYS_NICE as a mask, where root may not raise the limit that would do; else none."""
    return (
        CAP_SYS_NICE
        if subprocess.run([sys.executable, "-c", _RAISE], check=False, capture_output=True).returncode
        else 0
    )
