"""LOG rules of our kind in a router, written by hand: what the daemon's own must amount to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from anetcon.testbed.namespaces import Namespace


def hash_of(name: str) -> str:
    """What stands for a namespace in a prefix."""
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8]


def install(namespace: Namespace, engine: str) -> None:
    """The rules of a LOG engine, for every protocol, IPv4 and IPv6."""
    digest = hash_of(namespace.name)
    if engine == "nftables-log":
        namespace.run("nft", "-f", "-", text=_nft(digest))
        return
    for program in ("iptables-nft", "ip6tables-nft"):
        for rule in _iptables(digest):
            namespace.run(program, "-t", "nat", *rule)


def _nft(digest: str) -> str:
    rules = [f'ct status dnat log prefix "[ANETCON][D][{digest}] "']
    rules += [f'ct status & dnat == 0 log prefix "[ANETCON][X][{digest}] "']
    chain = ["type nat hook postrouting priority 99;", *rules]
    return "\n".join(["table inet anetcon {", "chain postrouting {", *chain, "}", "}", ""])


def _iptables(digest: str) -> Sequence[list[str]]:
    new = ["-m", "state", "--state", "NEW", "-m", "conntrack"]
    return [
        ["-N", "anetcon"],
        ["-I", "POSTROUTING", "1", "-j", "anetcon"],
        ["-A", "anetcon", *new, "--ctstate", "DNAT", "-j", "LOG", "--log-prefix", f"[ANETCON][D][{digest}] "],
        ["-A", "anetcon", *new, "!", "--ctstate", "DNAT", "-j", "LOG", "--log-prefix", f"[ANETCON][X][{digest}] "],
    ]
