"""The text of the file for logrotate: the two text logs, the files of sinks and the daemon's own log, a hundred of
each, told by signals.

A restart would make a gap; SIGHUP makes none. The daemon is found by the process id in its store's lock, and gets the
signal only if that process is one. Refuses to write the file: `anetcon config logrotate` prints it.
"""

from __future__ import annotations

import shlex

from anetcon.config.model import Config

KEEPER = "anetcon-keeper"
OWN_LOG = "anetcon.log"
"""In the folder of the text logs, where the daemon's own log is not configured: it may still be given by run -l."""

RSYSLOG_ROTATE = "/usr/lib/rsyslog/rsyslog-rotate"


def logrotate_text(config: Config, rsyslog_rotate: str = RSYSLOG_ROTATE) -> str:
    """The whole file. `rsyslog_rotate` tells rsyslogd, where it is there."""
    logs = config.logs
    own = logs.file or f"{logs.dir}/{OWN_LOG}"
    files = [f"{logs.dir}/anetcon.nat.log", f"{logs.dir}/anetcon.float.log", own]
    files += [sink.path for sink in config.every_sink.values()]
    lock, rotate = shlex.quote(f"{config.store.path}/lock"), shlex.quote(rsyslog_rotate)
    return f"""\
# The text logs of anetcon, its sinks and its own log. Made by `anetcon config logrotate`; nothing is restarted.
{" ".join(_quoted(file) for file in files)} {{
    daily
    rotate 100
    compress
    delaycompress
    missingok
    notifempty
    nocreate
    sharedscripts
    postrotate
        pid=$(cat {lock} 2>/dev/null) || pid=
        if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = {KEEPER} ]; then
            kill -HUP "$pid"
        fi
        if [ -x {rotate} ]; then
            {rotate} 2>/dev/null || :  # it fails where no rsyslogd runs
        fi
    endscript
}}
"""


def _quoted(path: str) -> str:
    return f'"{path}"'
