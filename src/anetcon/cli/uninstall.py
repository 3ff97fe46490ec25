"""`anetcon uninstall`: end the audit of this host, and take away what `anetcon install` put there."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from anetcon import bash
from anetcon.cli.install import HERE, DryRunOption, Installation, RootOption, find, normal
from anetcon.cli.people import say, warn
from anetcon.errors import AlreadyRunningError, ConfigError
from anetcon.install import apply, debian, places, records, service, undo, users
from anetcon.install.apply import Step, Verb
from anetcon.install.one_at_a_time import alone
from anetcon.install.plan import STORE
from anetcon.install.restore import Back, Putback
from anetcon.store.coverage import running

if bash.has("legacy"):
    from anetcon.legacy import way_back

TYPED = "purge"


def uninstall(
    root: RootOption = HERE,
    purge: Annotated[bool, typer.Option("--purge", help="Also remove edited configuration, records and logs.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --purge: remove the records without asking.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """End the audit of this host and remove what was installed.

    Without --purge, records, logs and edited configuration stay. The sysctls get their earlier values back.
    """
    os.umask(0o022)
    root = normal(root)
    with contextlib.nullcontext() if dry_run else alone(root):
        _uninstall(root, purge, yes, dry_run)


def _uninstall(root: Path, purge: bool, yes: bool, dry_run: bool) -> None:
    found = find(root, uninstalling=True)
    if purge and found.packages:
        raise ConfigError(
            "the Debian package has brought the program: `apt purge anetcon` removes records and logs, too"
        )
    if found.tree.is_host and bash.has("legacy"):
        way_back.refuse_its_service()
    removal = _Removal(found, purge)
    for line in removal.lines():
        say(line)
    if dry_run or removal.is_empty:
        say("nothing to do: nothing is installed" if removal.is_empty else "nothing was changed: --dry-run")
        return
    if removal.records and not yes:
        _ask(removal.records)
    failed = removal.carry_out()
    for why in failed:
        warn(f"anetcon: not put back: {why}")
    say("removed" if not removal.kept else "removed; what was kept is listed above")
    if found.packages:
        say(debian.STAYS)
    if found.tree.is_host and removal.replaced:
        say(f"the bash ANetCon runs again by {way_back.go_back_by(found.loaded)}")
    if failed:
        raise typer.Exit(1)


class _Removal:
    """Everything that goes, found before the first step is taken."""

    def __init__(self, found: Installation, purge: bool) -> None:
        self.found, self.purge = found, purge
        self.systemd = found.tree.is_host and service.has_systemd()
        state = service.look() if self.systemd else None
        self.actions = service.before_uninstall(state) if state else []
        store = Path(found.loaded.config.store.path)
        owner = running(store) if found.tree.is_host else None
        if owner is not None and not (state and state.is_its(owner)):
            raise AlreadyRunningError(f"the daemon with process id {owner} owns the store {store}: stop it first")
        self.backs: list[Back] = []
        for each in self._putbacks():
            self.backs += [back for back in each.steps(bool(self.actions)) if back not in self.backs]
        self.steps: list[Step] = undo.steps(found.tree, found.items, found.manifest, purge)
        self.steps += [Step(Verb.REMOVE, path) for path in (way_back.made(found.tree) if bash.has("legacy") else ())]
        self.records = self._records()
        self.users = users.there(found.tree) if purge else []
        self.kept = [step for step in self.steps if not step.changes]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        changes = any(step.changes for step in self.steps)
        known = bool(
            self.found.manifest.program or self.found.manifest.paths.keys() - {each.path for each in self.kept}
        )
        return not (changes or known or self.actions or self.backs or self.records or self.users)

    def _records(self) -> list[Path]:
        """What --purge takes of them. A daemon that is stopped makes further ones."""
        if not self.purge:
            return []
        kept = self.replaced if self.found.tree.is_host else []
        return [*records.places(self.found.tree, self.found.loaded.config), *map(Path, kept)]

    @property
    def replaced(self) -> list[str]:
        """What is kept of the bash ANetCon."""
        return way_back.kept(self.found.tree) if bash.has("legacy") else []

    def lines(self) -> list[str]:
        """What is done, in order."""
        there = self.found.tree.status(places.OLD_CONFIGURATION)
        theirs = [*([places.OLD_CONFIGURATION] if there else []), *self.replaced]
        kept = [Step(Verb.KEEP, path, None, "it is the bash ANetCon's") for path in theirs if self.purge]
        lines = [*self.actions, *self.backs, *self.steps, *kept]
        gone = [Step(Verb.REMOVE, str(place), None, "records or logs") for place in self.records]
        user = [Step(Verb.REMOVE, name, None, "the system user") for name in self.users]
        return [str(line) for line in [*lines, *gone, *user]]

    def carry_out(self) -> list[str]:
        """Do it; what could not be put back."""
        tree, manifest = self.found.tree, self.found.manifest
        for action in self.actions:
            service.do(action)
        failed = self._put_back()
        folders = undo.folders(tree, self.found.items, manifest)
        for step in self.steps:
            apply.carry_out(tree, step)
        for place in self._records():
            records.remove(place)
        manifest.forget({step.path for step in self.kept})
        for folder in folders:
            tree.remove_empty(folder)
        if self.users:
            users.remove(tree)
        if self.systemd:
            service.run(service.RELOAD)
            if places.RSYSLOG in {step.path for step in self.steps if step.changes}:
                service.do(service.RSYSLOG)
        return failed

    def _putbacks(self) -> list[Putback]:
        """Of the store, and of the one there was if it was moved."""
        if not self.found.tree.is_host:
            return []
        config = self.found.loaded.config
        stores = dict.fromkeys([config.store.path, STORE])
        return [Putback(Path(store), Path(config.audit.netns_dir)) for store in stores]

    def _put_back(self) -> list[str]:
        """Also what a daemon that could not be stopped in order has left, which is said only now."""
        failed = []
        for left in self._putbacks():
            for back in left.steps():
                if back not in self.backs:
                    say(str(back))
                if (why := left.carry_out(back)) is not None:
                    failed.append(why)
        return failed


def _ask(found: list[Path]) -> None:
    """Have the word typed: a year of records may go."""
    what = f"the {records.size(found) / 1e6:,.1f} MB of records and logs listed above"
    if not sys.stdin.isatty():
        raise ConfigError(f"--purge would remove {what} for good: say --yes as well")
    if typer.prompt(f"{what} will be gone for good. Type {TYPED} to go on", default="", show_default=False) != TYPED:
        raise ConfigError("nothing was removed")
