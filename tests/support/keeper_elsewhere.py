"""The keeper, told which is the machine's first network namespace: /proc/1 may be out of reach."""

import os
import sys
from pathlib import Path

from anetcon.keeper import main
from anetcon.link import log_switch

if __name__ == "__main__":
    log_switch.FIRST = Path(os.environ["FIRST_NETNS"])
    sys.exit(main.main(sys.argv[1:]))
