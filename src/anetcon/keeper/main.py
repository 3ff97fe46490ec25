"""The keeper: the parent process, tiny and privileged. It watches namespaces, opens sockets in them, hands copies to
capture and guards hold mode; capture and follow are its children.

`python -m anetcon.keeper.main --settings FD [--capture MODULE] [--follow MODULE] [--kmsg MODULE]
[--resolver MODULE] [-- OPTIONS...]`,
executed by `anetcon run`. FD holds the resolved settings as JSON; OPTIONS are those of `anetcon run`, with which
`config show --format json` resolves the settings again at a reload. `--state FD` comes from the keeper itself when it
is replaced in place.

Refuses to import anything but the standard library, to use threads, and to do anything that can wait: while capture
hangs, the guard must work.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path

from anetcon.errors import AnetconError
from anetcon.keeper import announce, handover, status, store_files, upgrade
from anetcon.keeper import hold as guard
from anetcon.keeper.audit import Audit
from anetcon.keeper.capture_link import Processes, Programs
from anetcon.keeper.children import Reaper
from anetcon.keeper.daemon_log import OwnLog
from anetcon.keeper.handover import VERSION, Handover, KeptChild
from anetcon.keeper.host import Host
from anetcon.keeper.log_engine.kernel_log import KernelLog
from anetcon.keeper.loop import Loop
from anetcon.keeper.notify import Notifier
from anetcon.keeper.options import Options
from anetcon.keeper.reload import Reload
from anetcon.keeper.shared import SLOTS, Shared
from anetcon.keeper.status import Status
from anetcon.keeper.store_files import Aside
from anetcon.keeper.watchdog import Watchdog
from anetcon.link import capabilities, counters, messages, settings
from anetcon.link.ledger import Ledger
from anetcon.link.messages import Message
from anetcon.link.settings import Settings
from anetcon.system import netns
from anetcon.system import syscalls as sc
from anetcon.system.clock import now_us, text
from anetcon.system.report import ERROR, INFO, debug, report, reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

REMOVE_SECONDS = 30.0
"""How long our rules and tables may take to be removed at the end."""


class Phase(Enum):
    """Of the process."""

    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"
    """Everything is done but the last lines of the log."""


class Keeper:
    """The process. `state` is what the keeper before it, if it was replaced in place, handed over."""

    def __init__(self, chosen: Settings, options: Options, state: Handover | None) -> None:
        self.settings = chosen
        self.options = options
        self.lock = state.lock if state else store_files.lock_store(chosen.store)
        self.head = {"started": state.started if state else text(now_us()), **status.identity()}
        """What status.json says of this process, for as long as it lives."""
        self.notifier = Notifier(os.environ, state and state.notify)
        self.host = _host(chosen, self.lock, state)
        self.log = OwnLog(self.host.loop, self.host.reaper, state and state.log)
        restarts = (state.restarts[0], state.restarts[1]) if state else (0, 0)
        programs = Programs(options.capture, options.follow, chosen.resolved, self.lock, restarts)
        self.processes = Processes(self.host, programs, self._start_capture, self._on_message)
        self.watchdog = Watchdog(self.processes.capture, self.host.shared.progress)
        self.audit = Audit(self.host, chosen, self.processes.send)
        self.processes.hands_over(self.audit.roster.attached)
        shown = Aside(self.host.reaper, Path(chosen.store) / "status.json", state and state.writing)
        self.status = Status(self.audit.roster, self.host.shared, shown)
        self.reload = Reload(self.host, options, self._show)
        self.kernel_log: KernelLog | None = None
        self.phase = Phase.RUNNING
        self._open_kernel_log(chosen.kind.kernel_log, state and state.kernel_log)
        if state is not None:
            self._restore(state)

    def _restore(self, state: Handover) -> None:
        upgrade.restore(state, self.settings, self.audit.roster, self.audit.guard)
        kept = (*state.attached, *state.draining)
        self.host.shared.resume([each.slot for each in kept], state.past)
        if state.engine != self.settings.engine:
            self.audit.let_go()
        if self.kernel_log is not None and not self.settings.kind.kernel_log:
            self.kernel_log.close()
            self.kernel_log = None
        self.processes.adopt_channel(state.channel)
        self.audit.rules.restore(state.rules, self.audit.roster.namespaces.values())
        self.audit.adapt(hold=state.hold, starts=state.starts)

    def _open_kernel_log(self, wanted: bool, state: KeptChild | None = None) -> None:
        """Where the engine needs it, and it is not open yet; or take over what was. Raises AnetconError."""
        if self.kernel_log is None and (wanted or state):
            self.kernel_log = KernelLog(self.host.loop, self.host.reaper, self.options.kmsg, self.lock, state)
            if state is None:
                self.host.shared.first_line(self.kernel_log.first)

    def run(self, children: Sequence[int | None]) -> None:
        """Until SIGTERM or SIGINT. `children` are those of the keeper before this one, to be replaced."""
        self._use_log()
        loop, roster = self.host.loop, self.audit.roster
        for number, call in {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._reload,
            signal.SIGUSR2: lambda: self.reload.ask(self._upgrade, self.settings.file, first=True),
        }.items():
            loop.on_signal(number, call)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, upgrade.SIGNALS)
        if self.kernel_log is not None:
            self.kernel_log.start()
        self.audit.begin()  # before there is a capture: what is attached then leaves no gap, however late we are
        roster.announcer.start(self.settings, len(roster.namespaces), again=self.options.state is not None)
        self.processes.start(children)
        self.host.reaper.reap()  # what ended while nobody listened
        self._each_second()
        loop.every(guard.TICK_SECONDS, self._each_tick)
        loop.every(status.EVERY_SECONDS, self._each_second)
        loop.run()

    # Capture

    def _start_capture(self) -> None:
        if self.kernel_log is not None:
            self.kernel_log.hand_over(self.processes.send)
        self.audit.start_capture()

    def _on_message(self, message: Message) -> None:
        self.audit.capture_said(message)
        if isinstance(message, messages.Hello):
            self.status.sum_up((self.processes.capture, self.processes.follow), self.reload.refused)

    # Time

    def _each_tick(self) -> None:
        self.audit.tick()
        roster = self.audit.roster
        turned = self.watchdog.tick(roster.capture_works, bool(roster.draining))
        self.notifier.tick(self.notifier.waits() and self._records(), turned, self.status.line)

    def _records(self) -> bool:
        """Whether all is as it is configured: capture works, and every namespace is attached or cannot be."""
        return self.audit.roster.capture_works and self.audit.is_tried and not self.reload.is_under_way

    def _each_second(self) -> None:
        if (
            self.phase is not Phase.ENDED
        ):  # nobody waits any more for who writes it: the next daemon could be overwritten
            self._show()
        if self.phase is Phase.RUNNING:
            self.audit.each_second()

    def _show(self) -> None:
        """How it is, in status.json and for the service manager."""
        head: dict[str, Any] = {
            "node": self.settings.node,
            **self.head,
            "engine": self.settings.engine,
            "settings_file": self.settings.file,
            "refused": self.reload.refused,
        }
        if self.kernel_log is not None:
            head["kmsg"] = status.of_child(self.kernel_log.reader)
        self.status.update(head, self.processes.capture, self.processes.follow)
        self.status.sum_up((self.processes.capture, self.processes.follow), self.reload.refused)

    # Settings

    def _use_log(self) -> None:
        reporter.introduce(reporter.name, self.settings.debug)
        self.log.use(self.settings.log_file)
        for line in self.settings.lines() if self.settings.debug else ():
            debug("%s", line)

    def _reload(self) -> None:
        self.notifier.reloading()
        self.log.reopen()
        self.processes.follow.signal(signal.SIGHUP)
        self.reload.ask(self._apply, self.settings.file)

    def _apply(self, new: Settings) -> None:
        _refuse(new, self.settings.store)
        old, roster = self.settings, self.audit.roster
        if new.engine != old.engine:
            self._open_kernel_log(new.kind.kernel_log)
            self.audit.let_go()
        self.audit.look_into(new.netns_dir)
        self.settings = new
        self.processes.use(new.resolved)
        self._use_log()
        self.audit.apply(new)
        if new.children_differ(old) and not new.capture_differs(old):
            self.processes.follow.replace()
        elif new.children_differ(old):
            roster.replace_capture()
            closing = None if new.kind.kernel_log else self.kernel_log
            if closing is None:
                self._replace_children()
            else:  # capture takes what the reader still has, then it is replaced too
                self.kernel_log = None
                closing.close(self._replace_children)
        report(f"{INFO}the configuration is applied: {announce.auditing(new, len(roster.namespaces))}")
        if not roster.namespaces:
            roster.announcer.warn(new)

    def _replace_children(self) -> None:
        self.processes.replace()
        if self.kernel_log is not None:
            self.kernel_log.start()

    # The end, and another beginning

    def _upgrade(self, new: Settings) -> None:
        """Become the program that is installed now; what it needs to go on is handed over."""
        _refuse(new, self.settings.store)
        children = self.processes.capture, self.processes.follow
        state = Handover(
            version=VERSION,
            lock=self.lock,
            counters=self.host.shared.descriptor,
            started=self.head["started"],
            hold=self.settings.hold,
            starts=self.settings.starts,
            channel=self.processes.channel,
            children=[child.pid for child in children],
            restarts=[child.restarts for child in children],
            rules=self.audit.rules.state(),
            engine=self.settings.engine,
            kernel_log=self.kernel_log.state() if self.kernel_log else None,
            log=self.log.state(),
            notify=self.notifier.state(),
            writing=self.status.writing,
            **upgrade.state_of(self.audit.roster, self.host.shared.past),
        )
        self.audit.roster.announcer.finish()
        try:
            upgrade.execute(state, new.resolved, self.options.again())
        except OSError as error:
            report(f"{ERROR}cannot execute {sys.executable}: {error.strerror}; going on as before")

    def _stop(self) -> None:
        """Capture first, so that nothing is left out of the journal, then follow, then our tables."""
        if self.phase is Phase.RUNNING:
            self.phase = Phase.STOPPING
            self.reload.stop()
            self.notifier.stopping()
            self.audit.tell_end()
            end = self.kernel_log.close if self.kernel_log is not None else _at_once
            end(lambda: self.processes.capture.stop(self._after_capture))

    def _after_capture(self) -> None:
        self.audit.rules.remove()
        self.processes.follow.stop(self._finish)

    def _finish(self) -> None:
        self._tidy_up()
        self.host.loop.every(0.05, self._tidy_up)
        self.host.loop.after(REMOVE_SECONDS, self._end)

    def _tidy_up(self) -> None:
        """Until nothing is left to be removed."""
        busy = self.audit.tidy_up()
        if not (busy or self.status.writing):
            self._end()

    def _end(self) -> None:
        """Once, for it takes as long as the last lines do. The log last: it has the lines of all others."""
        if self.phase is Phase.ENDED:
            return
        self.phase = Phase.ENDED
        report(f"{INFO}stopped: nothing is recorded before the next start")
        self.log.stop(self.host.loop.stop)


def _host(chosen: Settings, lock: int, state: Handover | None) -> Host:
    loop, home = Loop(), netns.Home()
    shared = Shared(state.counters if state else counters.create(SLOTS))
    store_files.keep_to_ourselves(lock)
    for descriptor in (lock, shared.descriptor):
        os.set_inheritable(descriptor, False)
    ledger = Ledger(Path(chosen.store))
    with contextlib.suppress(OSError):  # a full disk: what versions before wrote stays where it is
        ledger.fold()
    return Host(loop, Reaper(loop), home, ledger, shared)


def _refuse(new: Settings, store: str) -> None:
    """Raise AnetconError for what this process cannot become, nor the program that it executes."""
    if new.store != store:
        raise AnetconError(f"the store stays at {store}: to move it to {new.store}, restart the daemon")
    capabilities.require(new.engine)


def _at_once(call: Callable[[], None]) -> None:
    call()


def main(arguments: list[str]) -> int:
    """Run; the exit status."""
    signal.pthread_sigmask(signal.SIG_BLOCK, upgrade.SIGNALS)  # until they are handled: `run`
    sc.set_name("anetcon-keeper")
    reporter.introduce("anetcon-keeper")
    os.umask(0o027)
    options = Options(arguments)
    chosen = Settings(settings.read(options.settings))
    try:
        state = None if options.state is None else handover.read(options.state)
        for descriptor in (options.settings, options.state):
            if descriptor is not None:
                os.close(descriptor)
        capabilities.require(chosen.engine)
        capabilities.become(Path(chosen.store), chosen.engine, replaced=state is not None)
        keeper = Keeper(chosen, options, state)
        keeper.run(state.children if state else (None, None))
    except AnetconError as error:
        report(ERROR + str(error))
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
