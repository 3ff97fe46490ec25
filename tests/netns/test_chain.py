"""The chain of the bash ANetCon, and our table in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.config.load import Loaded, load
from anetcon.install import chain
from anetcon.keeper.settings import Settings
from anetcon.rules import netlink
from anetcon.testbed.namespaces import Namespace, Testbed
from tests.netns.logging_rules import anything, nat, readme, table

pytestmark = pytest.mark.needs("nft", "iptables")


def configured(folder: Path, namespace: Namespace, prefix: str = "[ANETCON]") -> Loaded:
    """The engine nftables-log for one namespace."""
    file = folder / "a.toml"
    audit = f'[audit]\nnamespaces = ["^{namespace.name}$"]\nengine = "nftables-log"\nprotocols = ["tcp"]\n'
    file.write_text(f"{audit}[logs]\nprefix = '{prefix}'\n")
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
    chain.replace(loaded, Settings(loaded.resolved()), said.append)
    assert (generation(namespace) - before, said) == (1, [])
    assert sum("log prefix" in line for line in table(namespace)) == 2
    assert nat(namespace, variant) == ["-A POSTROUTING -s 10.0.0.0/8 -j ACCEPT"]
    assert [line for line in anything(namespace) if "chain anetcon" in line] == []
    chain.replace(loaded, Settings(loaded.resolved()), said.append)
    assert said == []


def test_what_cannot_be_replaced_prints_on(bed: Testbed, tmp_path: Path) -> None:
    """And that is said."""
    namespace = bed.namespace("one")
    old_rules(namespace, "nft")
    loaded, said = configured(tmp_path, namespace, '[A"]'), list[str]()
    standing = nat(namespace)
    chain.replace(loaded, Settings(loaded.resolved()), said.append)
    assert (len(said), "is still there" in said[0]) == (1, True)
    assert nat(namespace) == standing


def test_it_is_given_back(bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our table goes when the chain stands again; where it does not, not before the time for that is over."""
    namespace = bed.namespace("one")
    loaded = configured(tmp_path, namespace)
    settings = Settings(loaded.resolved())
    chain.replace(loaded, settings, print)
    old_rules(namespace, "nft")
    chain.give_back(loaded, expected=True)
    assert (table(namespace), len(nat(namespace))) == ([], 4)
    chain.replace(loaded, settings, print)
    waited: list[bool] = []
    monkeypatch.setattr(chain, "BACK_SECONDS", 0.1)
    monkeypatch.setattr(chain, "_stands", lambda _: waited.append(bool(table(namespace))))
    chain.give_back(loaded, expected=True)
    assert set(waited) == {True}
    assert table(namespace) == []
