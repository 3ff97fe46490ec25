"""From the bash ANetCon to the daemon, under the same unit, without a moment in which neither is told of a connection.

1. Its files are kept aside, ours are put in their place. It runs on.
2. Its script is killed, so that its trap does not run: chain and rules stay, and print on, into rsyslog's files.
3. The daemon starts. Engine iptables-log takes the chain over as it stands, one write where it has to differ; for
   nftables-log its table is put in the chain's place before, in one write; for conntrack the chain is taken away once
   the daemon records.
4. Where the daemon writes the text logs from then on, it begins with what began when the chain was gone; until then
   rsyslog has (anetcon.follow.rsyslog_handover).
5. Where rsyslog needs another file it is restarted before, and sorts both forms of lines then. What it loses by that
   is read from the kernel and written in its place (anetcon.legacy.lost_lines).

Each step can be done again, whatever was interrupted. A daemon that does not become ready is ended without taking rules
away, the files go back, and the bash ANetCon runs again. Refuses to stop what is in another container.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from anetcon.config.load import Loaded, load
from anetcon.config.model import RSYSLOG_FILE
from anetcon.config.rsyslog import READERS
from anetcon.errors import AnetconError, TakeoverError
from anetcon.follow import rsyslog_handover
from anetcon.install import places, service
from anetcon.install.places import OLD_CONFIGURATION, UNIT
from anetcon.install.tree import named
from anetcon.legacy import backup, find, old_chain, old_rsyslog, stop_old, wait_ready
from anetcon.legacy.find import UNFINISHED, Old, Running
from anetcon.legacy.old_rsyslog import LogWriter
from anetcon.legacy.sorting import Sorting
from anetcon.legacy.stop_old import systemctl
from anetcon.legacy.way_back import REPLACED, go_back, go_back_by
from anetcon.link import ledger
from anetcon.link.settings import Settings
from anetcon.rules.wording import NFTABLES, TABLE
from anetcon.store.layout import followers_folder, group

MOVE_ON = (
    "the daemon goes on with LOG rules, as the bash ANetCon did; engine conntrack needs none, and records ends, bytes "
    "and public ports, too. To move on: `anetcon config migrate --output /etc/anetcon/anetcon.toml`"
)


def predecessor(no_start: bool, say: Callable[[str], None]) -> Old | None:
    """The bash ANetCon on this host, to be taken over from; what stays of it is said. Raises TakeoverError."""
    old = find.find()
    for pid in old.elsewhere:
        say(f"process {pid} is a bash ANetCon in another container, and goes on: stop it there")
    for each in old.starters:
        say(each)
    if not old:
        return None
    if no_start:
        raise TakeoverError("the daemon takes the place of the bash ANetCon here: leave --no-start away")
    if not service.has_systemd():
        raise TakeoverError("the bash ANetCon is here, and no systemd: end it by hand, then install again")
    return old


class TakeoverStep(NamedTuple):
    """What is done, in words, and doing it."""

    text: str
    do: Callable[[], None]

    def __str__(self) -> str:
        return f"{'takeover':8} {self.text}"


class Takeover:
    """Everything that is done. `loaded` is the configuration the daemon will use; `put` puts our files in place."""

    def __init__(self, old: Old, loaded: Loaded, put: Callable[[], None], say: Callable[[str], None]) -> None:
        self.old = old
        self.settings = Settings(loaded.resolved())
        self.store = Path(self.settings.store)
        self._loaded = loaded
        self._put = put
        self._say = say
        self._sorting = Sorting(old, loaded)
        self._writer = self._sorting.writer
        self._named = load(old.configuration, environment={}) if old.configuration else loaded
        self._removed: int | None = None
        """When (us) the last line of the chain may have been written."""
        self._begun = False
        self._killed = "0"
        """The main process of our unit while that was the old program's."""
        self._sorting.refuse_foreign_lines(old)

    @property
    def replaces(self) -> set[str]:
        """Files of the old program that ours may be written over."""
        return {str(path) for path in (*self.old.files, Path(OLD_CONFIGURATION))}

    def steps(self) -> list[TakeoverStep]:
        """All of them, in order."""
        return [*self._before(), *self._switch(), *self._after()]

    def carry_out(self) -> None:
        """Take over. Raises AnetconError, with the bash ANetCon running again if it did."""
        try:
            for step in self.steps():
                step.do()
        except (AnetconError, OSError) as error:
            why = error if isinstance(error, AnetconError) else named(error, Path(error.filename or "/etc"), "write")
            if not self._begun:
                raise why from error
            rsyslog_differs = self._writer is not LogWriter.SAME
            went_back = go_back(self.old, self._loaded, self._named, rsyslog_differs)
            raise TakeoverError(f"{why}; {went_back}") from error
        Path(UNFINISHED).unlink(missing_ok=True)
        if self.settings.kind.rules:
            self._say(MOVE_ON)
        self._say(f"to go back: `anetcon uninstall`, then {go_back_by(self._loaded)}")

    # Steps

    def _before(self) -> Iterator[TakeoverStep]:
        old = self.old
        if old.files:
            yield TakeoverStep(f"keep a copy of {_names(old.files)} in {REPLACED}", self._keep)
        for path in self._in_the_way():
            yield TakeoverStep(f"remove {path}", path.unlink)
        if old.configuration and old.configuration != Path(OLD_CONFIGURATION):
            yield TakeoverStep(
                f"make {old.configuration}, with which it runs, {OLD_CONFIGURATION}", self._move_configuration
            )
        yield TakeoverStep("write the daemon's files", self._put)
        if self.settings.kind.rules:
            yield TakeoverStep(
                f"name the rules in {self.store}/{ledger.FILE}, as the daemon's own",
                lambda: old_chain.name(self._named, self.settings.engine, self.store, self._say),
            )
        if self._writer is LogWriter.RENEWED:
            others = [path for path in self._sorting.snippets if path != Path(RSYSLOG_FILE)]
            where = f"{RSYSLOG_FILE} instead of {_names(others)}" if others else f"{RSYSLOG_FILE} anew"
            yield TakeoverStep(
                f"write {where}, restart rsyslog: {self._writer.value}", lambda: self._sorting.renew(self._say)
            )
        if self._writer is LogWriter.DAEMON:
            yield TakeoverStep(
                "have the text logs wait until rsyslog is done with them", lambda: rsyslog_handover.begin(self.store)
            )
            yield TakeoverStep(
                f"remove {_names(self._sorting.snippets)}, which rsyslog goes on with", self._sorting.remove
            )
        goes_on = _names(self._continued()) or "its own files"
        yield TakeoverStep(f"give the daemon {goes_on}, which it goes on writing", self._give_files)
        if (closed := self._closed()) is not None:
            yield TakeoverStep(f"let group {READERS} read {closed}", lambda: _open(closed))

    def _switch(self) -> Iterator[TakeoverStep]:
        yield TakeoverStep("have systemd read its units again", lambda: systemctl("daemon-reload"))
        for each in self.old.running:
            how = "so that it leaves its rules where they are"
            yield TakeoverStep(f"kill process {each.pid} ({' '.join(each.words)}), {how}", partial(self._end, each))
        if self.settings.engine == NFTABLES:
            yield TakeoverStep(
                f"put the nftables table {TABLE} in place of the chain, in one write", self._replace_chain
            )
        yield TakeoverStep("start the daemon", self._start)
        yield TakeoverStep("wait until it audits every namespace", self._wait)
        yield TakeoverStep("have it start at boot", lambda: systemctl("enable", UNIT))

    def _after(self) -> Iterator[TakeoverStep]:
        if not self.settings.kind.rules:
            yield TakeoverStep("take the chain away, since the daemon records", self._remove_chain)
        if self._writer is LogWriter.DAEMON:
            yield TakeoverStep("restart rsyslog, without the lines of the kernel", old_rsyslog.restart)
            yield TakeoverStep(
                "have the daemon write the text logs", lambda: rsyslog_handover.end(self.store, self._removed)
            )

    # Before

    def _in_the_way(self) -> list[Path]:
        """What would stand beside our files, or before them."""
        rotations = [path for path in self.old.rotations if str(path) != places.LOGROTATE]
        return [*self.old.drop_ins, *rotations]

    def _keep(self) -> None:
        Path(UNFINISHED).parent.mkdir(parents=True, exist_ok=True)
        Path(UNFINISHED).touch()
        backup.keep(self.old.files, REPLACED)

    def _move_configuration(self) -> None:
        given, standard = self.old.configuration, Path(OLD_CONFIGURATION)
        if given is not None:
            if standard.exists() and standard.read_bytes() != given.read_bytes():
                backup.keep([standard], REPLACED)
            half = standard.with_name(standard.name + ".new")
            shutil.copy2(given, half)
            half.rename(standard)

    def _continued(self) -> list[Path]:
        """Files of the old program that the daemon goes on writing."""
        logs = self._loaded.config.logs
        files = [Path(file) for file in (logs.namespace_hash_file, logs.file) if file]
        if self._writer in (LogWriter.DAEMON, LogWriter.NOBODY):
            files += [Path(logs.dir, name) for name in ("anetcon.nat.log", "anetcon.float.log")]
        return [file for file in files if file.exists()]

    def _give_files(self) -> None:
        """Who the daemon runs as owns the store: so it must own what it is to append to."""
        owner = self.store.stat()
        for path in (self.store / ledger.FILE, followers_folder(self.store), *self._continued()):
            with contextlib.suppress(FileNotFoundError):
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def _closed(self) -> Path | None:
        """The configuration, under the name it will have, where only root may read it."""
        file = self._loaded.file
        if file is None or file.stat().st_mode & 0o004:
            return None
        return Path(OLD_CONFIGURATION) if file == self.old.configuration else file

    # The moment itself

    def _end(self, running: Running) -> None:
        """Where another than our unit ran it, ours begins to start first: it does whatever becomes of us. A script of
        our unit is replaced by systemd itself, which starts again what was killed, by the new unit."""
        if not self._begun:
            self._killed = _main_process()
        self._begun = True

        def start() -> None:
            if not self.old.by_our_unit:
                systemctl("start", "--no-block", UNIT)

        if running.unit in ("", UNIT):
            stop_old.end(running, start)
        else:
            start()
            stop_old.end_unit(running.unit)

    def _start(self) -> None:
        """At once, without the pause that systemd makes before it starts anew what was killed. Where that is over the
        daemon runs already, and must not be stopped: its rules would go for a moment."""
        self._begun = True
        is_theirs = _main_process() in ("0", self._killed)
        systemctl("restart" if self.old.by_our_unit and is_theirs else "start", UNIT)

    def _wait(self) -> None:
        for netns, why in wait_ready.wait(self.store, UNIT):
            self._say(f"{netns} is not audited yet: {why}")

    def _replace_chain(self) -> None:
        old_chain.replace(self._named, self.settings, self._say)

    def _remove_chain(self) -> None:
        old_chain.remove(self._named, self._say)
        self._removed = time.time_ns() // 1000


def _open(configuration: Path) -> None:
    """Let the daemon read it."""
    if (readers := group()) is not None:
        os.chown(configuration, -1, readers)
        configuration.chmod(configuration.stat().st_mode | 0o040)


def _main_process() -> str:
    return service.run(("systemctl", "show", "--property=MainPID", "--value", UNIT)).strip()


def _names(paths: Any) -> str:
    return ", ".join(map(str, paths))
