"""The capture process: sockets handed over by the keeper -> journal. Does nothing that can wait.

`python -m anetcon.capture.main --channel FD --counters FD --settings FD`; started by the keeper only. When it dies the
sockets stay open in the keeper and go on queueing; the next capture is handed them again.
"""

from __future__ import annotations

import argparse
import contextlib
import grp
import os
import signal
import time

from anetcon import counters
from anetcon.errors import AnetconError
from anetcon.keeper.channel import Channel
from anetcon.keeper.children import WITHHELD
from anetcon.keeper.report import ERROR, WARNING, reporter
from anetcon.keeper.report import report as log
from anetcon.keeper.settings import read
from anetcon.keeper.syscalls import set_name
from anetcon.memory import collect_seldom, keep_freed_memory, leave

PRIORITY = -10
READERS = "adm"
"""The group that may read the journal."""


def now() -> int:
    """Wall clock in microseconds."""
    return time.time_ns() // 1000


def create_for_readers() -> None:
    """Have whatever this process creates belong to the group of readers, where there is one and we may."""
    os.umask(0o027)
    with contextlib.suppress(KeyError, PermissionError):
        os.setegid(grp.getgrnam(READERS).gr_gid)


def main() -> int:
    """Run until told to stop; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("channel", "counters", "settings"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    set_name("anetcon-capture")
    resolved = read(options.settings)
    reporter.introduce("anetcon-capture", resolved["logs"]["debug"])
    create_for_readers()
    keep_freed_memory()
    from anetcon.capture.auditor import Auditor  # imports pyarrow
    from anetcon.capture.settings import Settings

    try:
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    except PermissionError:
        log(f"{WARNING}cannot raise its own priority; give its unit LimitNICE=-10, or CAP_SYS_NICE")
    try:
        auditor = Auditor(Settings.of(resolved), counters.attach(options.counters), now, log)
        signal.signal(signal.SIGTERM, lambda *_: auditor.stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WITHHELD)
        collect_seldom()
        auditor.run(Channel.of(options.channel))
    except AnetconError as error:
        log(ERROR + str(error))
        return error.exit_status
    return 0


if __name__ == "__main__":
    leave(main())
