"""`anetcon install` where the Debian package has brought the program: what the package leaves to be done.

dpkg knows the unit, the documents, the folders and the configuration as it is shipped; which engine is configured, and
that a bash ANetCon is to be taken over from, it does not. Refuses to touch the package's files, but for its sample of a
configuration where the bash ANetCon's is the one in use: dpkg respects that it was removed.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from anetcon.config.sample import sample
from anetcon.errors import AnetconError
from anetcon.install.apply import Step, Verb
from anetcon.install.installed import Manifest
from anetcon.install.item import Item, ItemKind
from anetcon.install.places import DEBIAN, HOST, LOGROTATE, OLD_CONFIGURATION, RSYSLOG, SIGN_UNIT, TOML, UNIT
from anetcon.install.plan import WANTS
from anetcon.install.service import Action
from anetcon.install.tree import Tree

HOME = "/usr/lib/anetcon/"
ENABLED = f"/var/lib/systemd/deb-systemd-helper-enabled/{UNIT}.dsh-also"
"""There once the package's scripts have had the service start at boot (deb-systemd-helper)."""
STAYS = "the program itself is the Debian package's: `apt remove anetcon`"


def is_packaged() -> bool:
    """Whether the program that runs now is the package's."""
    return sys.prefix.startswith(HOME)


def refuse_another(tree: Tree) -> None:
    """Raise AnetconError when a program that is not the package's wants to take the service of the package."""
    if not is_packaged() and tree.status(DEBIAN.unit) is not None:
        raise AnetconError(
            "the Debian package anetcon is installed: run its own `/usr/bin/anetcon install`; "
            f"to use that of {sys.prefix} instead, run `apt remove anetcon` first"
        )


def left(items: Iterable[Item]) -> list[Item]:
    """Of all that is installed elsewhere, what the package does not bring: drop-ins, the snippet for rsyslog, folders
    of the configuration."""
    drop_ins = tuple(HOST.drop_in("", unit).rpartition("/")[0] + "/" for unit in (UNIT, SIGN_UNIT))
    return [
        item
        for item in items
        if item.path.startswith(drop_ins) or item.path == RSYSLOG or item.kind is ItemKind.DIRECTORY
    ]


def is_unused_sample(tree: Tree, configuration: Path | None) -> bool:
    """Whether the TOML file is as the package brought it, and there is a configuration of the bash ANetCon."""
    there = configuration is not None or tree.status(OLD_CONFIGURATION) is not None
    return there and tree.read(TOML) == sample().encode()


def instead(tree: Tree, items: Sequence[Item], configuration: Path | None, replaced: Collection[str]) -> Iterator[Step]:
    """What has to go, or to be as the package brought it, for the package's files to be those that count; `replaced`
    are the files of the bash ANetCon."""
    if is_unused_sample(tree, configuration):
        why = f"as the package brought it, and {configuration or OLD_CONFIGURATION} is the configuration"
        yield Step(Verb.REMOVE, TOML, None, why)
    if HOST.unit in replaced and tree.status(HOST.unit) is not None:
        yield Step(Verb.REMOVE, HOST.unit, None, "the package's own counts then")
    for item in items:
        if item.path == LOGROTATE in replaced and tree.read(LOGROTATE) != item.content:
            yield Step(Verb.UPDATE, LOGROTATE, item)


def was_disabled(tree: Tree) -> bool:
    """Whether somebody has disabled the package's service, which was enabled: the question is where it is not."""
    return is_packaged() and tree.status(ENABLED) is not None


def at_boot(tree: Tree) -> list[Action]:
    """What makes the package's service start at boot, where it does not."""
    unit = DEBIAN.unit.encode()
    enabled = tree.read(f"{WANTS}/{UNIT}") in (unit, unit.removeprefix(b"/usr"))
    return [] if enabled else [Action(("systemctl", "enable", UNIT))]


def give_up(manifest: Manifest) -> None:
    """What an installation before the package had in the places of its files is the package's from now on."""
    for path in (TOML, LOGROTATE):
        manifest.paths.pop(path, None)
