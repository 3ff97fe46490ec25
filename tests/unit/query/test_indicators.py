"""Lists of addresses, as people keep them."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.query.indicators import indicators
from anetcon.store import sql

LIST = """\
# from the feed of Monday

203.0.113.7
203.0.113[.]8   # defanged
  198.51.100.0/24
2001:db8[:]:1
[2001:db8::2]
203(.)0(.)113(.)9
""".splitlines()


def test_what_a_list_names() -> None:
    """Comments, empty lines and defanged addresses; each with its line and as it stands there."""
    found = list(indicators(LIST))
    assert [(each.line, each.text) for each in found] == [
        (3, "203.0.113.7"),
        (4, "203.0.113[.]8"),
        (5, "198.51.100.0/24"),
        (6, "2001:db8[:]:1"),
        (7, "[2001:db8::2]"),
        (8, "203(.)0(.)113(.)9"),
    ]
    plain = ("203.0.113.7", "203.0.113.8", "198.51.100.0/24", "2001:db8::1", "2001:db8::2", "203.0.113.9")
    assert [each.network for each in found] == [*map(sql.network, plain)]


@pytest.mark.parametrize("line", ["example.org", "203.0.113.256", "203.0.113.7, 203.0.113.8", "fe80::1%eth0"])
def test_what_cannot_be_read_is_never_left_out(line: str) -> None:
    """It would be as if nobody was seen there: the line's number is said."""
    with pytest.raises(ValueError, match="line 2: "):
        list(indicators(["203.0.113.7", line]))


NETWORKS = st.tuples(st.ip_addresses(), st.integers(0, 32)).map(lambda both: f"{both[0]}/{both[1]}")


@given(st.lists(st.tuples(st.ip_addresses().map(str) | NETWORKS, st.booleans()), max_size=9))
def test_any_list(given: list[tuple[str, bool]]) -> None:
    """Whatever is written in either way is read as what it is."""
    written = [text.replace(".", "[.]") if defanged else f"\t{text} # {text}" for text, defanged in given]
    found = [each.network for each in indicators(written)]
    assert found == [sql.network(str(ip_network(text, strict=False))) for text, _ in given]


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    """Every line is either read or named."""
    try:
        assert len(list(indicators([text]))) <= 1
    except ValueError as error:
        assert str(error).startswith("line 1: ")  # noqa: PT017 - either is right
