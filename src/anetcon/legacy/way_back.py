"""Back to the bash ANetCon: its files again where they were, its script running, its chain in place of our rules.

Used where a takeover fails, and told to whoever uninstalls the daemon later.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from pathlib import Path

from anetcon.config.load import Loaded
from anetcon.config.rsyslog import READERS
from anetcon.errors import AnetconError, TakeoverError
from anetcon.follow import rsyslog_handover
from anetcon.install import places, service
from anetcon.install.places import UNIT
from anetcon.install.tree import Tree
from anetcon.legacy import backup, old_chain, old_rsyslog, stop_old
from anetcon.legacy.find import OUR_DROP_INS, UNFINISHED, Old, find
from anetcon.legacy.stop_old import systemctl
from anetcon.rules.wording import NFTABLES

REPLACED = Path("/etc/anetcon") / backup.FOLDER
"""Where only root can write: these files go back to where root executes them."""


def go_back(old: Old, loaded: Loaded, named: Loaded, rsyslog_differs: bool) -> str:
    """Have the bash ANetCon run again, whose configuration is `named`; what became of it, in words."""
    again = old.by_our_unit or (old.unfinished and Path(places.HOST.unit) in backup.kept(REPLACED))
    runs = bool(again or old.running)
    try:
        _put_files_back(loaded, again)
        with stop_old.killed_when_stopped(UNIT):  # ours, which would take the chain away
            systemctl("restart" if again else "stop", UNIT)
        if rsyslog_differs:
            old_rsyslog.restart()
        for each in old.running:
            if each.unit == "":
                stop_old.begin_again(each)
            elif each.unit != UNIT:
                systemctl("enable", "--now", each.unit)
        if loaded.config.audit.engine == NFTABLES:
            old_chain.give_back(named, loaded, expected=runs)
    except (AnetconError, OSError, subprocess.SubprocessError) as error:
        return f"the bash ANetCon could not be started again ({error}): {go_back_by(loaded)}"
    return "the bash ANetCon runs again" if runs else "the files of the bash ANetCon are back"


def _put_files_back(loaded: Loaded, again: bool) -> None:
    if not again:
        with contextlib.suppress(AnetconError):
            systemctl("disable", UNIT)
    ours = Path(places.HOST.unit)
    drop_ins = [ours.with_name(f"{UNIT}.d") / name for name in OUR_DROP_INS]
    for path in (Path(UNFINISHED), old_rsyslog.DISCARD, ours, *drop_ins):
        path.unlink(missing_ok=True)
    backup.put_back(REPLACED)
    if given := _logs_given_back(loaded):
        service.run(given)
    rsyslog_handover.end(Path(loaded.config.store.path))


def go_back_by(loaded: Loaded) -> str:
    """How the files kept aside are made the ones in use again, in words."""
    units = [path.name for path in backup.kept(REPLACED) if path.suffix == ".service"]
    commands = [f"cp -a {REPLACED}/. /", "systemctl daemon-reload"]
    if given := _logs_given_back(loaded):
        commands.append(shlex.join(given))
    commands.append("systemctl try-restart rsyslog")
    if units:
        commands.append(f"systemctl enable --now {' '.join(units)}")
    return f"`{' && '.join(commands)}`" + ("" if units else ", and start its script as you did before")


def _logs_given_back(loaded: Loaded) -> list[str]:
    """The command that makes the text logs those of rsyslog again, where that is not root and could not write them."""
    user = old_rsyslog.user()
    return [] if user in ("", "root") else ["chown", "-R", f"{user}:{READERS}", loaded.config.logs.dir]


def refuse_its_service() -> None:
    """Raise TakeoverError where the service of our name, which would be stopped and removed, is the bash ANetCon's."""
    old = find()
    if old.unit is not None and not old.unfinished:
        raise TakeoverError(
            f"the service here is the bash ANetCon's, by {old.unit}: nothing was changed; to replace it by this "
            "program run `anetcon install`"
        )


def made(tree: Tree) -> list[str]:
    """Files that a takeover made, and that are there."""
    return [path for path in (str(old_rsyslog.DISCARD),) if tree.status(path)]


def kept(tree: Tree) -> list[str]:
    """What is kept of the bash ANetCon, and is there: the copies of its files."""
    return [path for path in (str(REPLACED),) if tree.status(path)]
