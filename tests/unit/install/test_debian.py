"""What `anetcon install` leaves to the Debian package, and what it does beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.config.load import load
from anetcon.config.sample import sample
from anetcon.install import debian
from anetcon.install.apply import Verb
from anetcon.install.installed import Manifest
from anetcon.install.item import Item
from anetcon.install.places import HOST, LOGROTATE, OLD_CONFIGURATION, RSYSLOG, TOML
from anetcon.install.plan import Choice, plan
from anetcon.install.shipped import Documents
from anetcon.install.tree import Tree


def everything(tmp_path: Path) -> list[Item]:
    """The plan for a host with a LOG engine whose lines rsyslog writes."""
    file = tmp_path / "anetcon.toml"
    file.write_text('[audit]\nengine = "nftables-log"\n')
    loaded = load(file, environment={})
    documents = Documents(man={("anetcon", 1): "text"}, completion={"bash": "text"})
    return plan(loaded, documents, Choice(link="/x", rsyslog=True, enable=True))


def test_the_packages_files_are_left_to_it(tmp_path: Path) -> None:
    """Drop-ins, the snippet for rsyslog and folders are made; unit, documents, link, user and settings are dpkg's."""
    left = {item.path for item in debian.left(everything(tmp_path))}
    assert {HOST.drop_in("50-engine"), RSYSLOG, "/var/lib/anetcon"} <= left
    others = {HOST.unit, HOST.program, HOST.sysusers, HOST.man("anetcon", 1), HOST.completion("bash"), TOML, LOGROTATE}
    assert not others & left


@pytest.mark.parametrize("edited", [False, True])
def test_the_sample_goes_where_the_old_configuration_counts(tmp_path: Path, edited: bool) -> None:
    """The TOML file is removed as long as it is the package's and there is /etc/anetcon.conf; edited it stays."""
    tree = Tree(tmp_path)
    for path, text in ((TOML, sample() + "# mine\n" * edited), (OLD_CONFIGURATION, "")):
        tree.place(path).parent.mkdir(parents=True, exist_ok=True)
        tree.place(path).write_text(text)
    assert debian.is_unused_sample(tree, None) is not edited
    steps = [(step.verb, step.path) for step in debian.instead(tree, [], None, [])]
    assert steps == ([] if edited else [(Verb.REMOVE, TOML)])
    tree.place(OLD_CONFIGURATION).unlink()
    assert list(debian.instead(tree, [], None, [])) == []


def test_files_of_the_bash_anetcon_make_way(tmp_path: Path) -> None:
    """Its unit is removed, so that the package's counts; its rotation becomes the package's."""
    tree = Tree(tmp_path)
    for path in (HOST.unit, LOGROTATE):
        tree.place(path).parent.mkdir(parents=True, exist_ok=True)
        tree.place(path).write_text("theirs")
    items = everything(tmp_path)
    assert list(debian.instead(tree, items, None, [])) == []
    steps = [(step.verb, step.path) for step in debian.instead(tree, items, None, [HOST.unit, LOGROTATE])]
    assert steps == [(Verb.REMOVE, HOST.unit), (Verb.UPDATE, LOGROTATE)]


@pytest.mark.parametrize(("unit", "enabled"), [("/lib", True), ("/usr/lib", True), ("/etc", False)])
def test_it_starts_at_boot_unless_it_does(tmp_path: Path, unit: str, enabled: bool) -> None:
    """The package's service is enabled once; that another of its name was does not count."""
    tree = Tree(tmp_path)
    (action,) = debian.at_boot(tree)
    assert action.words == ("systemctl", "enable", "anetcon.service")
    link = tree.place("/etc/systemd/system/multi-user.target.wants/anetcon.service")
    link.parent.mkdir(parents=True)
    link.symlink_to(f"{unit}/systemd/system/anetcon.service")
    assert (debian.at_boot(tree) == []) is enabled


def test_shared_files_become_the_packages(tmp_path: Path) -> None:
    """What was installed before the package, in the same place, is not removed as ours."""
    manifest = Manifest(Tree(tmp_path), HOST)
    manifest.paths = {TOML: ["x"], LOGROTATE: ["x"], HOST.unit: ["x"]}
    debian.give_up(manifest)
    assert set(manifest.paths) == {HOST.unit}


def test_this_program_is_none_of_the_packages() -> None:
    """The tests run from a checkout."""
    assert not debian.is_packaged()
