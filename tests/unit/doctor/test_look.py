"""Netlink sockets as /proc/net/netlink lists them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anetcon.doctor.look import NetlinkSocket, netlink_sockets
from tests.support.doctor_parts import look

RECORDED = """\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
0000000034c72c6a 0   0          00000000 0        0        0     2        0        4
000000005e0b1c07 12  4294963    00000005 258560   0        0     2        34024    3156091
"""


def test_the_kernel_s_table() -> None:
    """Groups are bits, what waits and what was lost are numbers."""
    assert netlink_sockets(RECORDED) == (
        NetlinkSocket(0, 0, 0, 0, 0, 4),
        NetlinkSocket(12, 4294963, 5, 258560, 34024, 3156091),
    )


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    """Lines that cannot be read are left out."""
    netlink_sockets(text)
    netlink_sockets(RECORDED + text)


def test_numbers() -> None:
    """A sysctl that is not there, or is no number, is not known."""
    assert look().number("nf_conntrack_max") == 1000
    assert look(sysctls={"nf_conntrack_max": "?"}).number("nf_conntrack_max") is None
    assert look(sysctls={}).number("nf_conntrack_max") is None
