"""Filters mean what their help says, and what cannot be read is wrong usage that names the option."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.query.filters import FILTERED, Filters, Span, Unusable, number_range, pattern, port_range
from anetcon.store.reader import Store
from tests.support.records import SECOND, T0, Making, ends, whole

ROWS = [
    whole(netns="qrouter-1", mark=0x4000000),
    whole(
        netns="qrouter-2",
        class_="float",
        **ends(src="198.51.100.9:5000", dst="203.0.113.9:22", nat_src="198.51.100.9:5000", nat_dst="10.0.0.9:2222"),
    ),
    whole(
        netns="default",
        proto=17,
        node="gw2",
        zone=7,
        **ends(src="[2001:db8::5]:53", dst="[2001:db8::9]:53", nat_src="[2001:db8::5]:53"),
    ),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three connections of three kinds."""
    making = Making(tmp_path_factory.mktemp("filters"))
    for rows in ROWS:
        making.add(*rows)
    return Store(making.close())


@pytest.mark.parametrize(
    ("given_filters", "found"),
    [
        ({}, {0, 1, 2}),
        ({"src": ["10.0.0.5"]}, {0}),
        ({"src": ["10.0.0.0/8", "198.51.100.0/24"]}, {0, 1}),
        ({"src": ["10.0.0.77/8"]}, {0}),
        ({"dst": ["203.0.113.9"]}, {1}),
        ({"nat_src": ["203.0.113.7"]}, {0}),
        ({"nat_dst": ["10.0.0.9"]}, {1}),
        ({"host": ["10.0.0.0/24"]}, {0, 1}),
        ({"host": ["2001:db8::/32"]}, {2}),
        ({"host": ["::/0"]}, {2}),
        ({"host": ["0.0.0.0/0"]}, {0, 1}),
        ({"sport": ["40000"]}, {0}),
        ({"dport": ["1-100"]}, {1, 2}),
        ({"nat_sport": ["40213", "5000"]}, {0, 1}),
        ({"nat_dport": ["2222"]}, {1}),
        ({"proto": ["UDP"]}, {2}),
        ({"proto": ["6"], "netns": ["qrouter-"]}, {0, 1}),
        ({"class_": ["float"]}, {1}),
        ({"class_": ["nat", "float"]}, {0, 1, 2}),
        ({"netns": ["^qrouter-1$", "fault"]}, {0, 2}),
        ({"node": ["gw2"]}, {2}),
        ({"zone": ["7"]}, {2}),
        ({"zone": ["0-6", "8-9"]}, {0, 1}),
        ({"mark": ["0x4000000"]}, {0}),
        ({"mark": ["1-67108864"], "zone": ["7"]}, set()),
        ({"src": ["10.0.0.5"], "dport": ["22"]}, set()),
    ],
)
def test_filters_find_what_they_say(store: Store, given_filters: dict[str, Any], found: set[int]) -> None:
    """Any value of one filter does; all filters must hold."""
    filters = Filters(**given_filters)
    rows = store.connections(filters.condition(), result=filters.result()).read_all()
    assert {
        next(i for i, row in enumerate(ROWS) if row[0]["netns"] == name) for name in rows["netns"].to_pylist()
    } == found


@pytest.mark.parametrize(
    ("name", "text"),
    [("src", "10.0.0.0/99"), ("host", "example.org"), ("dport", "http"), ("sport", "70000"), ("nat_dport", "9-1"),
     ("proto", "tpc"), ("class_", "snat"), ("netns", "("), ("zone", "65536"), ("zone", "-1"), ("mark", "0x"),
     ("mark", "4-3"), ("mark", "1_000"), ("mark", "0x1/0xf")],
)  # fmt: skip
def test_what_cannot_be_read(name: str, text: str) -> None:
    """It is wrong usage, named by its option and with what was typed."""
    filters = Filters(**{name: [text]})
    with pytest.raises(Unusable) as error:
        filters.condition() + filters.result()
    assert error.value.option == name.rstrip("_")
    assert text in str(error.value)


@given(st.text())
def test_any_text_is_a_range_of_ports_or_refused(text: str) -> None:
    """No text ends in anything but a range within 0 to 65535, or wrong usage."""
    try:
        first, last = port_range("sport", text)
        assert 0 <= first <= last <= 65535
    except Unusable as error:
        assert repr(text) in str(error)  # noqa: PT017 - nearly every text is refused


@given(st.text() | st.from_regex(r"(0x)?[0-9a-f]{1,9}(-(0x)?[0-9a-f]{1,9})?", fullmatch=True))
def test_any_text_is_a_range_of_numbers_or_refused(text: str) -> None:
    """No text ends in anything but a range that the field can have, or wrong usage."""
    for field in FILTERED:
        try:
            first, last = number_range(field, text)
            assert 0 <= first <= last <= np.iinfo(field.dtype).max
        except Unusable as error:
            assert repr(text) in str(error)  # noqa: PT017 - much of it is refused


@pytest.mark.parametrize("text", ["x" * 1001, ".{1000}" * 5, "(.?){1000}" * 20, r"(\pL{10}){10}", "(.{1000}){1000}"])
def test_patterns_that_would_take_long(text: str) -> None:
    """One that takes seconds for some thousand names is wrong usage; what people write is not."""
    with pytest.raises(Unusable, match=r"too large|invalid repetition size"):
        pattern(text)
    for usual in (r"^qrouter-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", r"^(qrouter|snat|fip)-", r"(?i)^\w+-\pL+$"):
        assert pattern(usual) == usual


def test_a_byte_that_is_no_text(store: Store) -> None:
    """As an argument it is wrong usage of --netns, and no node of any record."""
    with pytest.raises(Unusable, match="it is no text"):
        pattern("a\udcff")
    assert len(store.connections(Filters(node=["a\udcff"]).condition()).read_all()) == 0


@given(st.text(st.characters(exclude_characters="\0")))
def test_any_pattern_that_is_accepted_can_be_used(store: Store, text: str) -> None:
    """What --netns accepts, the store understands."""
    try:
        condition = Filters(netns=[pattern(text)]).condition()
    except Unusable:
        return
    store.connections(condition).read_all()


def test_spans() -> None:
    """A span has both ends, one or none; one that ends before it begins is wrong usage."""
    assert Span().bounds() == (None, None)
    assert Span(since="2026-11-20 14:05:09", tz="Europe/Madrid").bounds() == (T0, None)
    assert Span(since=str(T0 // SECOND), until="2026-11-20T13:05:10Z").bounds() == (T0, T0 + SECOND)
    with pytest.raises(Unusable, match="before"):
        Span(since="2026-11-20", until="2026-11-19").bounds()
    for name, values in (("since", {"since": "x"}), ("until", {"until": "x"}), ("tz", {"until": "now", "tz": "Mars"})):
        with pytest.raises(Unusable) as error:
            Span(**values).bounds()
        assert error.value.option == name


def test_what_was_given_is_said_again() -> None:
    """The JSON query repeats the filters by the names of their options."""
    assert Filters(class_=["nat"], src=["10.0.0.5"]).given() == {"src": ["10.0.0.5"], "class": ["nat"]}
