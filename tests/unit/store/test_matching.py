"""Whether anybody ever talked to some addresses: the same as asking for each alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.query.filters import Filters
from anetcon.store import sql
from anetcon.store.compact import Compactor
from anetcon.store.matching import SIDES, talked
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from tests.support.examples import examples
from tests.support.records import DAY, SECOND, T0, Making, ends, logged, logged_float, start, whole

LIST = (
    *("10.0.0.5", "10.0.0.6", "203.0.113.7", "198.51.100.9", "198.51.100.0/24", "0.0.0.0/0", "::/0", "192.0.2.1"),
    *("::ffff:10.0.0.5", "2001:db8::5", "2001:db8::/32", "203.0.113.99", "10.0.0.9", "198.51.100.9"),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Compacted days, a seal, what is open, and what is in the journal alone; both families, and lines."""
    path = tmp_path_factory.mktemp("store")
    making = Making(path)
    six = ends(src="[2001:db8::5]:1", dst="[2001:db8::9]:443", nat_src="[2001:db8::5]:1")
    for day in (3, 2):
        for number in range(2):
            at = T0 - day * DAY + number * SECOND
            making.add(*whole(start=at, src_port=number), *whole(7200, start=at, src_port=10 + number)).rotate()
            assert Sealer(path, lambda at=at: at).seal()  # type: ignore[misc]
    making.add(*whole(start=T0, **six), start(start=T0, **ends(src="10.0.0.6:1")), logged(src_port=7), logged_float())
    making.rotate()
    assert Sealer(path, lambda: T0).seal()
    assert list(Compactor(path, clock=lambda: T0 + DAY).run())
    making.add(*whole(start=T0 + SECOND, **ends(nat_src="203.0.113.8:5")), start(start=T0 + 2 * SECOND, src_port=99))
    making.close()
    return Store(path)


def alone(store: Store, text: str, since: int | None, until: int | None) -> dict[str, Any] | None:
    """What a search for it finds."""
    filters = {side: Filters(**{side: [text]}).condition() for side in SIDES}
    found = store.connections(sql.either(filters.values()), since, until).read_all().to_pylist()
    if not found:
        return None
    times = [(row["start"], row["end"] or row["start"]) for row in found]
    sides = [s for s in SIDES if store.connections(filters[s], since, until).read_all().num_rows]
    return {
        "first": min(begin for begin, _ in times),
        "last": max(over for _, over in times),
        "open": any(row["end"] is None and row["end_reason"] is None for row in found),
        "sides": tuple(sides),
        "days": len({begin.date() for begin, _ in times}),
        "connections": len(found),
    }


TIMES = st.none() | st.integers(-4, 1).map(lambda days: T0 + days * DAY + 5 * SECOND)


@examples(0.12)
@given(st.lists(st.sampled_from(LIST), max_size=5), st.tuples(TIMES, TIMES))
def test_as_asking_for_each_alone(store: Store, texts: list[str], times: tuple[int | None, int | None]) -> None:
    """Addresses and networks, however they overlap, of either family, with and without bounds."""
    since, until = sorted(times) if None not in times else times  # type: ignore[type-var]
    plain = [text.removeprefix("::ffff:") for text in texts]
    expected = {n: found for n, text in enumerate(plain) if (found := alone(store, text, since, until))}
    result = {}
    for each in talked(store, [*map(sql.network, texts)], since, until):
        row = each._asdict()
        number = row.pop("number")
        result[number] = {**row, "first": _time(row["first"]), "last": _time(row["last"])}
    assert result == expected


def _time(microseconds: int) -> Any:
    """As rows have it."""
    import pyarrow as pa

    return pa.scalar(microseconds, pa.timestamp("us", tz="UTC")).as_py()


def test_all_at_once(store: Store) -> None:
    """Of all of them some are seen and some are not; an IPv4 address also as a server of both families writes it."""
    found = talked(store, [*map(sql.network, LIST)], None, None)
    assert {LIST[each.number] for each in found} == {*LIST} - {"203.0.113.99"}
    assert talked(store, [], None, None) == []
