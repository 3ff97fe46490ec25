"""The chain of the bash ANetCon, and our table in its place."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from anetcon import bash
from anetcon.config.load import Loaded, load
from anetcon.link.settings import Settings
from anetcon.netlink import generation as netlink
from anetcon.testbed.bed import Namespace, Testbed
from tests.support.logging_rules import anything, nat, readme, table
from tests.support.rooms import belongs_to

if bash.has("legacy"):
    from anetcon.legacy import old_chain

pytestmark = [belongs_to("legacy"), pytest.mark.needs("nft", "iptables")]


def configured(folder: Path, *namespaces: Namespace, prefix: str = "[ANETCON]", where: str = "/run/netns") -> Loaded:
    """The engine nftables-log for these namespaces, and others whose names only go on."""
    file = folder / "a.toml"
    names = json.dumps([f"^{each.name}" for each in namespaces])
    audit = f'namespaces = {names}\nengine = "nftables-log"\nprotocols = ["tcp"]\nnetns_dir = "{where}"\n'
    file.write_text(f"[audit]\n{audit}[logs]\nprefix = '{prefix}'\n")
    return load(file, environment={})


def old_rules(namespace: Namespace, variant: str) -> None:
    """As the old program makes them, below another rule, with an IPv6 chain of that name that nobody jumps to."""
    tables = f"iptables-{variant}"
    namespace.run(tables, "-t", "nat", "-A", "POSTROUTING", "-s", "10.0.0.0/8", "-j", "ACCEPT")
    namespace.run(tables, "-t", "nat", "-N", "anetcon")
    for rule in readme(namespace.name):
        namespace.run(f"{tables}-restore", "--noflush", text=f"*nat\n{rule}\nCOMMIT\n")
    namespace.run(f"ip6tables-{variant}", "-t", "nat", "-N", "anetcon")


def generation(namespace: Namespace) -> int:
    """How often the ruleset was changed."""
    with namespace.inside():
        return netlink.generation()


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_our_table_takes_its_place(bed: Testbed, tmp_path: Path, variant: str) -> None:
    """In one write to nftables, which has both but for iptables-legacy; what others have in those tables stays."""
    namespace = bed.namespace("one")
    old_rules(namespace, variant)
    loaded, said = configured(tmp_path, namespace), list[str]()
    before = generation(namespace)
    old_chain.replace(loaded, Settings(loaded.resolved()), said.append)
    assert (generation(namespace) - before, said) == (1, [])
    assert sum("log prefix" in line for line in table(namespace)) == 2
    assert nat(namespace, variant) == ["-A POSTROUTING -s 10.0.0.0/8 -j ACCEPT"]
    assert [line for line in anything(namespace) if "chain anetcon" in line] == []
    old_chain.replace(loaded, Settings(loaded.resolved()), said.append)
    assert said == []


def test_what_cannot_be_replaced_prints_on(bed: Testbed, tmp_path: Path) -> None:
    """And that is said."""
    namespace = bed.namespace("one")
    old_rules(namespace, "nft")
    loaded, said = configured(tmp_path, namespace, prefix='[A"]'), list[str]()
    standing = nat(namespace)
    old_chain.replace(loaded, Settings(loaded.resolved()), said.append)
    assert (len(said), "is still there" in said[0]) == (1, True)
    assert nat(namespace) == standing


def test_it_is_given_back(bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our table goes when the chain stands again; where it does not, not before the time for that is over."""
    namespace = bed.namespace("one")
    loaded = configured(tmp_path, namespace)
    settings = Settings(loaded.resolved())
    old_chain.replace(loaded, settings, print)
    old_rules(namespace, "nft")
    old_chain.give_back(loaded, loaded, expected=True)
    assert (table(namespace), len(nat(namespace))) == ([], 4)
    old_chain.replace(loaded, settings, print)
    waited: list[bool] = []
    monkeypatch.setattr(old_chain, "BACK_SECONDS", 0.1)
    monkeypatch.setattr(old_chain, "_stands", lambda _: waited.append(bool(table(namespace))))
    old_chain.give_back(loaded, loaded, expected=True)
    assert set(waited) == {True}
    assert table(namespace) == []


def test_it_is_given_back_while_the_old_program_is_at_work(
    bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes through its namespaces one by one: each that it is done with is a reason to wait for the next. Where
    only ours had rules they go without waiting."""
    first, second, other = (bed.namespace(name) for name in ("one", "two", "three"))
    old, ours = configured(tmp_path, first, second), configured(tmp_path, first, second, other)
    old_chain.replace(ours, Settings(ours.resolved()), print)
    now, stood = [0.0], list[float]()
    monkeypatch.setattr(old_chain, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=lambda _: None))

    def stands(_: str) -> bool:
        now[0] += old_chain.BACK_SECONDS * 0.4
        stood.append(now[0])
        return len(stood) in (2, 4)

    monkeypatch.setattr(old_chain, "_stands", stands)
    old_chain.give_back(old, ours, expected=True)
    assert len(stood) == 4
    assert [table(each) for each in (first, second, other)] == [[], [], []]


@pytest.mark.parametrize("do", ["replace", "remove"])
def test_a_namespace_that_is_gone(bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, do: str) -> None:
    """It neither ends the takeover nor is it spoken of: not a file that was left of one, nor one that vanishes after
    it was seen."""
    namespace = bed.namespace("one")
    old_rules(namespace, "nft")
    (tmp_path / namespace.name).symlink_to(namespace.path)
    (tmp_path / f"{namespace.name}-left").touch()
    loaded, said = configured(tmp_path, namespace, where=str(tmp_path)), list[str]()
    there = list(old_chain.places(loaded))
    assert there == [(namespace.name, tmp_path / namespace.name)]
    monkeypatch.setattr(old_chain, "places", lambda _: [("left", tmp_path / f"{namespace.name}-left"), *there])
    if do == "remove":
        old_chain.remove(loaded, said.append)
    else:
        old_chain.replace(loaded, Settings(loaded.resolved()), said.append)
    assert (len(nat(namespace)), said) == (1, [])


def test_our_own_namespace_where_only_the_old_program_audits_it(bed: Testbed, tmp_path: Path) -> None:
    """The chain goes, and no table comes that nobody would look after."""
    namespace = bed.namespace("one")
    old_rules(namespace, "nft")
    old, ours = tmp_path / "old.toml", tmp_path / "ours.toml"
    for file, name in ((old, "default"), (ours, "qrouter")):
        file.write_text(f'[audit]\nnamespaces = ["{name}"]\nengine = "nftables-log"\nnetns_dir = "/nowhere"\n')
    with namespace.inside():
        old_chain.replace(load(old, environment={}), Settings(load(ours, environment={}).resolved()), print)
    assert (len(nat(namespace)), table(namespace)) == (1, [])
