"""What is audited on this host from now on; and whether it is a plain gateway, whose own namespace is to be audited.

A plain gateway has no namespace of Neutron, and in its first namespace packets are forwarded and a rule translates
addresses. Changes nothing. What cannot be looked at is no plain gateway.
"""

from __future__ import annotations

import re
from pathlib import Path

from anetcon.config.load import Loaded
from anetcon.config.model import DEFAULT_NETNS, NEUTRON_ROUTERS
from anetcon.config.sample import GATEWAY
from anetcon.config.toml_text import value_text
from anetcon.doctor.examine import namespaces
from anetcon.doctor.look import NamespaceLook, visit
from anetcon.link.settings import Settings
from anetcon.system.netns import Home

FIRST = Path("/proc/1/ns/net")
"""The namespace in which services are started, wherever this program is."""
NAT = {"nat", "masq", "redir"}
TARGETS = {"SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NETMAP"}
_LEGACY = re.compile(rf"-j (?:{'|'.join(sorted(TARGETS))})\b")
SHOWN = 3


def is_plain(netns_dir: str) -> bool:
    """Whether this host is a plain gateway."""
    neutron = re.compile(NEUTRON_ROUTERS)
    folder = Path(netns_dir)
    if folder.is_dir() and any(neutron.search(path.name) for path in folder.iterdir()):
        return False
    look = visit(Home(), NamespaceLook(DEFAULT_NETNS, FIRST))
    return look.forwards and translates(look)


def translates(look: NamespaceLook) -> bool:
    """Whether a rule of a namespace translates addresses, of whichever program it is."""
    found = (each for rule in look.rules.rules for each in rule.expressions)
    return any(each.name in NAT or each.extension in TARGETS for each in found) or any(
        _LEGACY.search(text) for text in look.legacy.values()
    )


def audited(loaded: Loaded, proposed: bool) -> str:
    """What the daemon will find to audit now; `proposed`: the configuration is that of a plain gateway."""
    setting = f"namespaces = {value_text(GATEWAY)}"
    if proposed:
        return f"this host's own namespace, since it forwards and translates and has none of Neutron: {setting}"
    settings = Settings(loaded.resolved())
    names = [look.netns for look in namespaces(settings, [])[0] if look.audited]
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"{len(names)} network namespace{'s' * (len(names) != 1)} now: {', '.join(names[:SHOWN])}{more}"
    patterns = ", ".join(loaded.config.audit.namespaces)
    nothing = f"nothing yet: no namespace in {settings.netns_dir} matches audit.namespaces ({patterns})"
    if is_plain(settings.netns_dir):
        where = loaded.resolved().get("settings_file") or "/etc/anetcon/anetcon.toml"
        return f"{nothing}; this host forwards and translates itself: set `{setting}` under [audit] in {where}"
    return nothing
