"""Nftables tables of our own, as text for nft; and the one that makes conntrack run, by a rule that does nothing."""

from __future__ import annotations

from typing import NamedTuple

TABLE = "inet anetcon_conntrack"


def removal(table: str) -> str:
    """Input for nft that takes a table away, whether it is there or not."""
    return f"table {table}\ndelete table {table}\n"


class Table(NamedTuple):
    """A table of ours: its family and name, what is in it, and what cannot be done in a namespace where it fails."""

    name: str
    content: str
    purpose: str

    @property
    def rules(self) -> str:
        """Input for nft that makes it, whether it is there or not."""
        return f"{removal(self.name)}table {self.name} {{\n {self.content}}}\n"


CONNTRACK = Table(TABLE, "chain uses_conntrack {\n ct state new\n }\n", "make conntrack run")
