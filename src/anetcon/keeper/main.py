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
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from anetcon.errors import AnetconError
from anetcon.keeper import announce, attach, files, handover, status, upgrade
from anetcon.keeper import hold as guard
from anetcon.keeper.activate import Activation
from anetcon.keeper.attach import Sockets
from anetcon.keeper.capture_link import Processes
from anetcon.keeper.children import STOP_SECONDS, Reaper
from anetcon.keeper.daemon_log import OwnLog
from anetcon.keeper.files import Aside
from anetcon.keeper.handover import VERSION, Handover, KeptChild
from anetcon.keeper.hold import Guard
from anetcon.keeper.jobs import Errands
from anetcon.keeper.log_engine.kernel_log import KernelLog
from anetcon.keeper.log_engine.rules import Rules
from anetcon.keeper.loop import Loop, Timer
from anetcon.keeper.namespaces import READABLE, Found, Namespaces
from anetcon.keeper.notify import Notifier
from anetcon.keeper.roster import Audited, Roster
from anetcon.keeper.sampling import Sampling
from anetcon.keeper.shared import SLOTS, Shared
from anetcon.keeper.status import Status
from anetcon.keeper.watch import Watch
from anetcon.keeper.watchdog import Watchdog
from anetcon.link import capabilities, counters, messages, settings
from anetcon.link.ledger import Ledger
from anetcon.link.messages import Message
from anetcon.link.settings import DEFAULT, Settings
from anetcon.rules import invalid_sample
from anetcon.system import netns
from anetcon.system import syscalls as sc
from anetcon.system.clock import now_us, text
from anetcon.system.process import python, spawn
from anetcon.system.report import ERROR, INFO, WARNING, debug, report, reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

REMOVE_SECONDS = 30.0
"""How long our rules and tables may take to be removed at the end."""


class Keeper:
    """The process. `state` is what the keeper before it, if it was replaced in place, handed over."""

    def __init__(self, chosen: Settings, options: Options, state: Handover | None) -> None:
        self.settings = chosen
        self.options = options
        self.lock = state.lock if state else files.lock_store(chosen.store)
        self.started = state.started if state else text(now_us())
        self.identity = status.identity()
        store = Path(chosen.store)
        self.notifier = Notifier(os.environ, state and state.notify)
        self.loop = Loop()
        self.reaper = Reaper(self.loop)
        self.log = OwnLog(self.loop, self.reaper, report, state and state.log)
        self.home = netns.Home()
        self.own = Found(self.home.inode, newborn=False)
        self.shared = Shared(state.counters if state else counters.create(SLOTS))
        files.keep_to_ourselves(self.lock)
        for descriptor in (self.lock, self.shared.descriptor):
            os.set_inheritable(descriptor, False)
        modules, kept = (options.capture, options.follow), (self.lock, self.shared.descriptor, self.home.fileno())
        self.processes = Processes(self.loop, self.reaper, modules, *kept, report)
        self.processes.resolved = chosen.resolved
        self.guard = Guard(self.shared, chosen.guard_share, chosen.starts, self.processes.send, report)
        self.watchdog = Watchdog(self.processes.capture, self.shared.progress, report)
        self.ledger = Ledger(store)
        with contextlib.suppress(OSError):  # a full disk: what versions before wrote stays where it is
            self.ledger.fold()
        self.roster = Roster(chosen, self.home, self.shared, self.guard, self.ledger, self.processes.send, report)
        self.watch = Watch(self.loop, self.home, self.roster.path, self.processes.send, report)
        self.errands = Errands(self.loop, self.reaper, self.home)
        doing = self.loop, self.errands, self.home
        self.rules = Rules(chosen, *doing, self.ledger, self.roster.path, self.processes.send)
        self.rules.stood = self.roster.try_again
        self.roster.rules_missing = self.rules.missing
        self.activation = Activation(self.home, self.reaper, self.ledger)
        self.sampling = Sampling(self.home, self.reaper, self.ledger, self.processes.send)
        self.shown = Aside(self.reaper, store / "status.json", state and state.writing)
        self.status = Status(self.roster, self.shared, self.shown.write)
        self.namespaces = Namespaces(chosen.netns_dir, chosen.selects)
        self.kernel_log: KernelLog | None = None
        self._look: Timer | None = None
        self._listing: Timer | None = None
        self._resolving: Callable[[Settings], None] | None = None
        self._over = self._stopping = self._ended = False
        self._line = "Starting"
        self._refused = False  # the settings as they were last read again
        self._restore(state)

    def _restore(self, state: Handover | None) -> None:
        self._open_kernel_log(self.settings.kind.kernel_log, state and state.kernel_log)
        if state is None:
            return
        upgrade.restore(state, self.roster, self.guard)
        if state.engine != self.settings.engine:
            self._let_go()
        if self.kernel_log is not None and not self.settings.kind.kernel_log:
            self.kernel_log.close()
            self.kernel_log = None
        self.processes.adopt_channel(state.channel)
        self.processes.capture.restarts, self.processes.follow.restarts = state.restarts
        self.rules.restore(state.rules, self.roster.audited.values())
        self._adapt(hold=state.hold, starts=state.starts)

    def _open_kernel_log(self, wanted: bool, state: KeptChild | None = None) -> None:
        """Where the engine needs it, and it is not open yet; or take over what was. Raises AnetconError."""
        if self.kernel_log is None and (wanted or state):
            self.kernel_log = KernelLog(self.loop, self.reaper, self.options.kmsg, self.lock, report, state)
            if state is None:
                self.shared.first_line(self.kernel_log.first)

    def run(self, children: Sequence[int | None]) -> None:
        """Until SIGTERM or SIGINT. `children` are those of the keeper before this one, to be replaced."""
        self._use_log()
        self.processes.on_start = self._tell_capture
        self.processes.on_message = self._on_message
        for number, call in {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._reload,
            signal.SIGUSR2: lambda: self._resolve(self._upgrade),
        }.items():
            self.loop.on_signal(number, call)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, upgrade.SIGNALS)
        if self.kernel_log is not None:
            self.kernel_log.start()
        self._watch_namespaces()
        self._list()  # before there is a capture: what is attached when it begins leaves no gap, however late we are
        self.roster.announcer.start(self.settings, len(self.roster.audited), again=self.options.state is not None)
        self.processes.start(children)
        self.reaper.reap()  # what ended while nobody listened
        self._each_second()
        self.loop.every(guard.TICK_SECONDS, self._each_tick)
        self.loop.every(status.EVERY_SECONDS, self._each_second)
        self.loop.run()
        self.roster.close()

    # Namespaces

    def _watch_namespaces(self) -> None:
        self.loop.watch(self.namespaces.fileno(), self._on_namespaces)

    def _list(self) -> None:
        """The full listing, and whatever else is due every period."""
        self._see(self.namespaces.scan)
        self._reconcile()
        self.roster.retry()
        self.rules.check()
        if self._listing is not None:
            self._listing.cancel()
        self._listing = self.loop.after(self.settings.period, self._list)

    def _on_namespaces(self) -> None:
        self._see(self.namespaces.on_events)
        self._reconcile()

    def _see(self, look: Callable[[], None]) -> None:
        """Have namespaces looked for. Where they cannot be listed those that are audited go on; with none of them it
        is as at the start: AnetconError, so that there is a gap."""
        try:
            look()
        except OSError as error:
            why = f"cannot list {self.settings.netns_dir}: {error.strerror}"
            if not self.roster.audited:
                raise AnetconError(f"{why}; {READABLE}") from error
            report(f"{WARNING}{why}; trying again")

    def _look_again(self) -> None:
        self._look = None
        self.namespaces.look_again()
        self._reconcile()

    def _reconcile(self) -> None:
        present = self.namespaces.present
        self.roster.reconcile({DEFAULT: self.own, **present} if self.settings.with_default else present)
        self.rules.keep(self.roster.audited.values())
        for name in self.namespaces.never_became:
            report(
                f"{WARNING}{self.settings.netns_dir}/{name} is no network namespace as seen from here; if it is one "
                "elsewhere, start the daemon where its mount is seen"
            )
        for name, since in self.namespaces.missed:
            self.roster.missed(name, since)
        self.namespaces.never_became.clear()
        self.namespaces.missed.clear()
        pause = self.namespaces.pause()
        if pause is not None and self._look is None:
            self._look = self.loop.after(pause, self._look_again)

    # Capture

    def _tell_capture(self) -> None:
        if self.kernel_log is not None:
            self.kernel_log.hand_over(self.processes.send)
        self.roster.hand_over_again()
        if self.settings.record_invalid:
            self.sampling.tell_again(self.roster.attached())
        self.rules.hear_again()

    def _on_message(self, message: Message) -> None:
        match message:
            case messages.Hello():
                self.roster.capture_said_hello()
                self.watch.tell_again()
                self.guard.tell_again()
                self._sum_up()
            case messages.Detached(slot):
                self.roster.detached(slot)
            case messages.Tracks(slot, families):
                self.roster.tracks(slot, frozenset(invalid_sample.FAMILIES) & set(map(str, families)))
            case messages.Remark(slot, cause, what):
                self.roster.found(slot, cause, what)
            case _:
                report(f"{WARNING}capture said what only the keeper says: {type(message).__name__}")

    def _each_tick(self) -> None:
        self.guard.tick()
        turned = self.watchdog.tick(self.roster.capture_works, bool(self.roster.draining))
        self.notifier.tick(self.notifier.waits() and self._records(), turned, self._line)

    def _records(self) -> bool:
        """Whether all is as it is configured: capture works, and every namespace is attached or cannot be."""
        tried = all(each.sockets is not None or each.message is not None for each in self.roster.audited.values())
        return self.roster.capture_works and tried and self._resolving is None

    def _each_second(self) -> None:
        if not self._ended:  # nobody waits any more for who writes it: the next daemon could be overwritten
            self._show()
        if not self._stopping:
            self._activate()
            self.roster.announcer.tick(self.settings, len(self.roster.audited))
            attached = self.roster.attached() if self.settings.kind.events else []
            self.watch.tick(attached, *(self.shared.column(name) for name in ("events", "state") if attached))

    def _show(self) -> None:
        """How it is, in status.json and for the service manager."""
        head: dict[str, Any] = {
            "node": self.settings.node,
            **self.identity,
            "started": self.started,
            "engine": self.settings.engine,
            "settings_file": self.settings.file,
            "refused": self._refused,
        }
        if self.kernel_log is not None:
            head["kmsg"] = status.of_child(self.kernel_log.reader)
        self.status.update(head, self.processes.capture, self.processes.follow)
        self._sum_up()

    def _sum_up(self) -> None:
        children = self.processes.capture, self.processes.follow
        self._line = status.line(self.roster, self.shared.header(), children, self._refused)

    def _activate(self) -> None:
        """Our nftables table where conntrack does not run, and nowhere else."""
        self._sample(self.roster.attached())
        attached = [audited for audited, _ in self.roster.attached()] if self.settings.activate_conntrack else []
        self.activation.keep({(audited.name, audited.inode) for audited in attached}, self.roster.path)
        states = self.shared.column("state") if attached else []
        for audited in attached:
            self.activation.look(audited.name, audited.inode, self.roster.path(audited.name), states[audited.slot])

    def _sample(self, attached: list[tuple[Audited, Sockets]]) -> None:
        """Our rule where packets that are invalid are to be recorded, and nowhere else."""
        look = self.sampling.tick if self.settings.record_invalid else self.sampling.close
        look(attached, self.roster.path)

    # Settings

    def _use_log(self) -> None:
        reporter.debugging = self.settings.debug
        self.log.use(self.settings.log_file)
        for line in self.settings.lines() if self.settings.debug else ():
            debug("%s", line)

    def _reload(self) -> None:
        self.notifier.reloading()
        self.log.reopen()
        self.processes.follow.signal(signal.SIGHUP)
        self._resolve(self._apply)

    def _resolve(self, then: Callable[[Settings], None]) -> None:
        """Have the settings resolved by a child, since that takes libraries; then use them.

        Who asks meanwhile has it done over, since the file may be another by now; of a reload and a replacement it is
        the replacement, which uses the settings, too."""
        if self._stopping:
            return
        if self._resolving is not None:
            self._over = True
            self._resolving = then if then == self._upgrade else self._resolving
            return
        self._resolving = then
        rest = self.options.rest or (["-c", self.settings.file] if self.settings.file else [])
        answer = os.memfd_create("anetcon-resolved")
        words = python(self.options.resolver, "config", "show", "--format", "json", *rest)
        pid = spawn(words, stdout=answer)
        patience = self.loop.after(STOP_SECONDS, lambda: os.kill(pid, signal.SIGKILL))

        def ended(code: int) -> None:
            wanted, over = self._resolving or then, self._over
            self._resolving, self._over = None, False
            patience.cancel()
            try:
                if over or self._stopping:
                    self._resolve(wanted)
                    return
                self._refused = True
                if code:
                    report(
                        f"{ERROR}the configuration is refused (status {code}, see above); going on with the one before"
                    )
                else:
                    resolved = settings.read(answer)
                    wanted(Settings(resolved.get("resolved", resolved)))
                    self._refused = False
            except (ValueError, KeyError, TypeError, re.error) as error:
                report(
                    f"{ERROR}cannot read what `anetcon config show` said: {error!r}; going on with the settings before"
                )
            except AnetconError as error:
                report(f"{ERROR}{error}; going on with the settings before")
            finally:
                os.close(answer)
            self._show()  # before it is ready again: who waited for that is not told how it was before

        self.reaper.expect(pid, ended)

    def _refuse(self, new: Settings) -> None:
        """Raise AnetconError for what this process cannot become, nor the program that it executes."""
        if new.store != self.settings.store:
            stays = self.settings.store
            raise AnetconError(f"the store stays at {stays}: to move it to {new.store}, restart the daemon")
        capabilities.require(new.engine)

    def _apply(self, new: Settings) -> None:
        self._refuse(new)
        old = self.settings
        if new.engine != old.engine:
            self._open_kernel_log(new.kind.kernel_log)
            self._let_go()
        if new.netns_dir != old.netns_dir:
            watch = Namespaces(new.netns_dir, new.selects)
            self.loop.unwatch(self.namespaces.fileno())
            self.namespaces.close()
            self.namespaces = watch
            self._watch_namespaces()
        self.settings = self.roster.settings = self.rules.settings = new
        self.processes.resolved = new.resolved
        self._use_log()
        self._adapt(old.hold, old.starts)
        self.namespaces.select(new.selects)
        self._list()
        if new.children_differ(old):
            self.roster.capture_works = False
            closing = None if new.kind.kernel_log else self.kernel_log
            if closing is None:
                self._replace_children()
            else:  # capture takes what the reader still has, then it is replaced too
                self.kernel_log = None
                closing.close(self._replace_children)
        report(f"{INFO}the configuration is applied: {announce.auditing(new, len(self.roster.audited))}")
        if not self.roster.audited:
            self.roster.announcer.warn(new)

    def _let_go(self) -> None:
        """With another engine everything is attached anew: sysctls, sockets and rules differ."""
        self.guard.shed()
        self.roster.let_go()

    def _replace_children(self) -> None:
        self.processes.capture.replace()
        self.processes.follow.replace()
        if self.kernel_log is not None:
            self.kernel_log.start()

    def _adapt(self, hold: bool, starts: bool) -> None:
        """Bring sockets in line with the settings, after those before them."""
        self.guard.share, self.guard.starts = self.settings.guard_share, self.settings.starts
        for audited, sockets in self.roster.attached():
            if starts != self.settings.starts:
                attach.set_starts(sockets.events, self.settings.starts)
            if self.settings.hold and not hold:
                self.guard.add(audited.slot, audited.netns, sockets.events, sockets.stats)
        if hold and not self.settings.hold:
            self.guard.shed()

    # The end, and another beginning

    def _upgrade(self, new: Settings) -> None:
        """Become the program that is installed now; what it needs to go on is handed over."""
        self._refuse(new)
        children = self.processes.capture, self.processes.follow
        state = Handover(
            version=VERSION,
            lock=self.lock,
            counters=self.shared.descriptor,
            started=self.started,
            hold=self.settings.hold,
            starts=self.settings.starts,
            channel=self.processes.channel,
            children=[child.pid for child in children],
            restarts=[child.restarts for child in children],
            rules=self.rules.state(),
            engine=self.settings.engine,
            kernel_log=self.kernel_log.state() if self.kernel_log else None,
            log=self.log.state(),
            notify=self.notifier.state(),
            writing=self.shown.writing,
            **upgrade.state_of(self.roster, self.guard),
        )
        self.roster.announcer.finish()
        try:
            upgrade.execute(state, new.resolved, self.options.again())
        except OSError as error:
            report(f"{ERROR}cannot execute {sys.executable}: {error.strerror}; going on as before")

    def _stop(self) -> None:
        """Capture first, so that nothing is left out of the journal, then follow, then our tables."""
        if not self._stopping:
            self._stopping = True
            self.notifier.stopping()
            self.roster.announcer.finish()
            self.guard.tell()
            self.watch.tell_end(self.roster.attached())
            self.roster.tell_end()
            self.rules.tell_end()
            end = self.kernel_log.close if self.kernel_log is not None else _at_once
            end(lambda: self.processes.capture.stop(self._after_capture))

    def _after_capture(self) -> None:
        self.rules.remove()
        self.processes.follow.stop(self._finish)

    def _finish(self) -> None:
        self._tidy_up()
        self.loop.every(0.05, self._tidy_up)
        self.loop.after(REMOVE_SECONDS, self._end)

    def _tidy_up(self) -> None:
        """Until nothing is left to be removed, also of what was under way and has come to stand since."""
        self.activation.keep(set(), self.roster.path)
        self.sampling.close(self.roster.attached(), self.roster.path)
        if not (self.activation.busy or self.sampling.busy or self.errands.busy or self.shown.busy):
            self._end()

    def _end(self) -> None:
        """Once, for it takes as long as the last lines do. The log last: it has the lines of all others."""
        if self._ended:
            return
        self._ended = True
        report(f"{INFO}stopped: nothing is recorded before the next start")
        self.log.stop(self.loop.stop)


def _at_once(call: Callable[[], None]) -> None:
    call()


class Options:
    """The command line: see the module's docstring."""

    def __init__(self, arguments: list[str]) -> None:
        own, _, self.rest = _partition(arguments)
        given = dict(zip(own[::2], own[1::2], strict=True))
        self.settings = int(given["--settings"])
        self.state = int(given["--state"]) if "--state" in given else None
        self.capture = given.get("--capture", "anetcon.capture.main")
        self.follow = given.get("--follow", "anetcon.follow.main")
        self.kmsg = given.get("--kmsg", "anetcon.kmsg.main")
        self.resolver = given.get("--resolver", "anetcon.cli.main")

    def again(self) -> list[str]:
        """The arguments that stay the same for the program after this one."""
        modules = ["--capture", self.capture, "--follow", self.follow, "--kmsg", self.kmsg]
        return [*modules, "--resolver", self.resolver, "--", *self.rest]


def _partition(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    if "--" not in arguments:
        return arguments, "", []
    at = arguments.index("--")
    return arguments[:at], "--", arguments[at + 1 :]


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
