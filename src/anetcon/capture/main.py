"""The capture process: sockets handed over by the keeper -> journal. Does nothing that can wait.

`python -m anetcon.capture.main --channel FD --counters FD --settings FD --home FD --handed N`. The keeper alone starts
it, with CAP_NET_ADMIN alone and in a network namespace of its own: it asks through sockets that were opened elsewhere.
When it dies these stay open in the keeper and go on queueing; the next capture is handed them again.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from anetcon.errors import AnetconError
from anetcon.link import counters
from anetcon.link.channel import Channel
from anetcon.link.settings import read
from anetcon.system.memory import collect_seldom, keep_freed_memory, leave
from anetcon.system.process import WITHHELD
from anetcon.system.report import ERROR, report, reporter
from anetcon.system.syscalls import set_name


def main() -> int:
    """Run until told to stop; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("channel", "counters", "settings", "home"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--handed", type=int, default=0, help="namespaces that the keeper hands over at once")
    options = parser.parse_args()
    set_name("anetcon-capture")
    resolved = read(options.settings)
    reporter.introduce("anetcon-capture", resolved["logs"]["debug"])
    os.umask(0o027)
    keep_freed_memory()
    from anetcon.capture.engine.make import make  # imports pyarrow, as the others do
    from anetcon.capture.loop import Loop
    from anetcon.capture.recording import Recording
    from anetcon.capture.settings import Settings

    try:
        used = Settings.of(resolved, Path(f"/proc/self/fd/{options.home}"))
        recording = Recording(used, counters.attach(options.counters), Channel.of(options.channel), options.handed)
        loop = Loop(recording, make(recording))
        signal.signal(signal.SIGTERM, lambda *_: loop.stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WITHHELD)
        collect_seldom()
        loop.run()
    except AnetconError as error:
        report(ERROR + str(error))
        return error.exit_status
    return 0


if __name__ == "__main__":
    leave(main())
