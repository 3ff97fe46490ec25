"""A connection that several routers of one node saw: followed to the inside that opened it, all of its rows shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anetcon.cli.answer import HANDSHAKE
from anetcon.query.times import rfc3339
from anetcon.store.seal import Sealer
from tests.support.asking import Answer
from tests.support.records import INODE, SECOND, T0, Making, ends, whole

PUBLIC = "203.0.113.129:16572"
FLOATING = "203.0.113.140:8081"
VICTIM = "10.20.30.12:8081"
ATTACKER = "10.9.0.5:40000"


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """A store without connections."""
    return Making(tmp_path / "store")


def row(number: int, sides: dict[str, Any], **values: Any) -> list[dict[str, Any]]:
    """The rows of a connection through `qrouter-<number>`."""
    return whole(values.pop("seconds", 10), netns=f"qrouter-{number}", netns_inode=INODE + number, **sides, **values)


def victims(**values: Any) -> list[dict[str, Any]]:
    """What router 1 saw of the attack: it translated the destination."""
    return row(1, ends(src=PUBLIC, dst=FLOATING, nat_src=PUBLIC, nat_dst=VICTIM), class_="float", **values)


def attackers(number: int = 2, source: str = ATTACKER, to: str = FLOATING, **values: Any) -> list[dict[str, Any]]:
    """What another router saw of it, which translated the source."""
    return row(number, ends(src=source, dst=to, nat_src=PUBLIC, nat_dst=to), **values)


def who(making: Making, *more: str, address: str = PUBLIC, at: int = T0 + SECOND) -> dict[str, Any]:
    """The answer as JSON."""
    making.alive(T0 + 3600 * SECOND)
    words = ["--at", rfc3339(at), "--store", str(making.path), "--format", "json", *more]
    return Answer("who", address, *words).json


def sources(said: dict[str, Any]) -> list[str]:
    """The inner sources found, in order."""
    return [f"{record['src_ip']}:{record['src_port']}" for record in said["connections"]]


@pytest.mark.parametrize("to", [[], ["--to", VICTIM], ["--to", FLOATING], ["--to", "10.20.30.12"]])
@pytest.mark.parametrize("address", [PUBLIC, "203.0.113.129"])
def test_followed_to_who_opened_it(making: Making, address: str, to: list[str]) -> None:
    """Whatever end the victim names, the answer is the instance behind the other router, and both rows are shown."""
    making.add(*victims(), *attackers(start=T0 - 3))
    said = who(making, *to, address=address)
    assert (said["verdict"], sources(said), said["same_connection"]) == ("one", [ATTACKER, PUBLIC], [[0, 1]])
    table = Answer("who", address, "--at", rfc3339(T0 + SECOND), "--store", making.path, *to).out.splitlines()
    assert "was 10.9.0.5" in table[0]
    assert "in qrouter-2" in table[0]
    assert table[1] == HANDSHAKE


def test_only_the_router_of_the_victim_is_audited(making: Making) -> None:
    """A row with both ends as asked is never none: nothing on record translated its source, and the answer says so."""
    making.add(*victims())
    said = who(making, "--to", VICTIM)
    assert (said["verdict"], sources(said), said["same_connection"]) == ("one", [PUBLIC], [])
    line = Answer("who", PUBLIC, "--at", rfc3339(T0), "--store", making.path, "--to", VICTIM).out.splitlines()[0]
    assert line.endswith(f"was {PUBLIC} itself, outside of qrouter-1 (no namespace on record translated it)")
    assert who(making)["verdict"] == "none", "without the other end it is the far side of somebody else's connection"


def test_a_service_of_the_router_itself(making: Making) -> None:
    """A connection to a router's own address is found by both its ends, too."""
    local = ends(src=PUBLIC, dst="203.0.113.2:22", nat_src=PUBLIC, nat_dst="203.0.113.2:22")
    making.add(*row(1, local, class_="local"))
    assert who(making, "--to", "203.0.113.2:22")["verdict"] == "one"
    making.add(*attackers(to="203.0.113.2:22"))
    assert sources(who(making, "--to", "203.0.113.2:22")) == [ATTACKER, PUBLIC]


def test_three_routers(making: Making) -> None:
    """It is followed through a router in between that translated the destination for the first time."""
    between = ends(src=PUBLIC, dst="203.0.113.150:80", nat_src=PUBLIC, nat_dst=FLOATING)
    making.add(*victims(), *row(3, between, class_="float"), *attackers(to="203.0.113.150:80"))
    said = who(making, "--to", VICTIM)
    assert (said["verdict"], sources(said), said["same_connection"]) == ("one", [ATTACKER, PUBLIC, PUBLIC], [[0, 1, 2]])
    assert [record["netns"] for record in said["connections"]] == ["qrouter-2", "qrouter-3", "qrouter-1"]


@pytest.mark.parametrize(
    "other",
    [
        {"node": "gw2"},
        {"proto": 17},
        {"to": "203.0.113.141:8081"},
        {"number": 1},
        {"start": T0 + 12 * SECOND},
        {"start": T0 - 12 * SECOND},
    ],
)
def test_not_the_same_connection(making: Making, other: dict[str, Any]) -> None:
    """Another node, protocol, far end or time, or the same namespace, makes another connection."""
    making.add(*victims(), *attackers(**other))
    said = who(making, "--to", VICTIM)
    assert (said["verdict"], sources(said), said["same_connection"]) == ("one", [PUBLIC], [])


def test_a_port_that_was_used_again(making: Making) -> None:
    """Each row is followed by its own time: the nearer one leads to the instance that had the port then."""
    making.add(*victims(), *attackers())
    making.add(*victims(start=T0 + 20 * SECOND), *attackers(source="10.9.0.6:1", start=T0 + 20 * SECOND))
    for at, order in ((T0, [ATTACKER, "10.9.0.6:1"]), (T0 + 21 * SECOND, ["10.9.0.6:1", ATTACKER])):
        said = who(making, "--to", VICTIM, at=at)
        assert (said["verdict"], said["same_connection"]) == ("several", [[0, 1], [2, 3]])
        assert sources(said) == [order[0], PUBLIC, order[1], PUBLIC]


def test_one_of_two_has_no_sender_on_record(making: Making) -> None:
    """Where another one was open at that very time, who had the port at another time is not alone."""
    making.add(*victims(), *attackers(start=T0 + 30 * SECOND), *victims(start=T0 + 30 * SECOND))
    said = who(making, "--to", VICTIM, at=T0)
    assert (said["verdict"], sources(said)) == ("several", [PUBLIC, ATTACKER, PUBLIC])
    assert who(making, "--to", VICTIM, at=T0 + 31 * SECOND)["verdict"] == "one"


def test_sealed_and_not(making: Making) -> None:
    """A row that is sealed and one that is in the journal are one connection as well, whichever is which."""
    making.add(*victims(), *attackers(start=T0 + 20 * SECOND)).rotate()
    Sealer(making.path, clock=lambda: T0).seal()
    making.add(*attackers(), *victims(start=T0 + 20 * SECOND))
    for at in (T0, T0 + 21 * SECOND):
        assert who(making, "--to", VICTIM, at=at)["same_connection"] == [[0, 1], [2, 3]]


def test_a_limit(making: Making) -> None:
    """The inside comes first, whatever is shown of the rest."""
    making.add(*victims(), *attackers())
    said = who(making, "--to", VICTIM, "--limit", "1")
    assert (said["verdict"], sources(said), said["same_connection"]) == ("one", [ATTACKER], [])


def test_two_that_pass_to_each_other(making: Making) -> None:
    """Two namespaces that translate nothing, each the next of the other, are no chain without an end."""
    same = ends(src=PUBLIC, dst=FLOATING, nat_src=PUBLIC, nat_dst=FLOATING)
    making.add(*row(3, same), *row(4, same), *attackers(), *victims())
    said = who(making, "--to", VICTIM)
    assert (said["verdict"], sources(said), said["same_connection"]) == (
        "one",
        [ATTACKER, *[PUBLIC] * 3],
        [[0, 1, 2, 3]],
    )
