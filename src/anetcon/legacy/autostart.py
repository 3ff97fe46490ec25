"""What starts the bash ANetCon besides the units that `find` knows: rc.local, cron, init scripts, and other units.

A file of somebody's with other things in it is not ours to edit, so each line is named, with what to do. Refuses to
change anything, and to understand more of a line than that it is no comment and names the script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

PLACES = {
    "etc/rc.local": "take that line out",
    "etc/rc.d/rc.local": "take that line out",
    "etc/inittab": "take that line out",
    "etc/crontab": "take that line out",
    "etc/anacrontab": "take that line out",
    "etc/cron.d/*": "take that line out",
    "etc/cron.*ly/*": "take that line out",
    "var/spool/cron/crontabs/*": "take that line out (`crontab -u {name} -e`)",
    "var/spool/cron/*": "take that line out (`crontab -u {name} -e`)",
    "etc/init.d/*": "disable it (`update-rc.d {name} remove`, or `chkconfig --del {name}`)",
    "etc/systemd/system/*.service": "disable it (`systemctl disable {name}`)",
    "usr/local/lib/systemd/system/*.service": "disable it (`systemctl disable {name}`)",
}
"""Where such lines are, as patterns below the root, and what is done about one."""


def find(root: Path, scripts: Iterable[str], known: Iterable[Path] = ()) -> Iterator[str]:
    """A sentence for each file that names one of these scripts. `known` (absolute) are those seen to otherwise."""
    names = "|".join(map(re.escape, sorted(scripts)))
    line = re.compile(rf"^[^#\n]*(?<![\w.-])(?:{names})(?![\w.-])", re.MULTILINE)
    for pattern, remedy in PLACES.items():
        for path in sorted(root.glob(pattern)):
            inside = Path("/") / path.relative_to(root)
            text = "" if inside in known else _text(path)
            if found := line.search(text):
                number = text.count("\n", 0, found.end()) + 1
                what = remedy.format(name=path.name)
                yield f"{inside}, line {number}, starts the bash ANetCon; the installation does not edit it: {what}"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # a folder, a broken link, nobody's to read
        return ""
