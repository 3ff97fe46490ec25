"""The keeper, told that the machine's first network namespace is that of its parent: /proc/1 may be out of reach."""

import os
import sys
from pathlib import Path

from anetcon.keeper import main, nflog

if __name__ == "__main__":
    nflog.FIRST = Path(f"/proc/{os.getppid()}/ns/net")
    sys.exit(main.main(sys.argv[1:]))
