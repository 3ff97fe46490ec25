"""The configuration as it is installed: every setting with its line of help and its default, commented out.

So but for one nothing in it counts until somebody takes a # away, and a default that changes with a new version changes
everywhere. What has no default has an example, which says so. Set are how many days are kept, since who spoke with whom
is personal data, and on a plain gateway (`gateway`) the namespaces.
"""

from __future__ import annotations

from collections.abc import Iterator

from anetcon.config.load import SETTINGS
from anetcon.config.model import DEFAULT_NETNS, TABLES, Setting
from anetcon.config.toml_text import described, value_text

HEAD = """\
# Configuration of anetcon. Every setting is here with its default, commented out: take the # away and change it.
# A setting without a default has an example, which says so. One is set: how many days records are kept. After a change
# run `anetcon config check`, then `systemctl reload anetcon`. `anetcon config show` prints what holds and why.
"""
EXAMPLES = {
    "node": '"network-1"',
    "store.max_gigabytes": "100",
    "store.min_free_gigabytes": "1",
    "logs.namespace_hash_file": '"/var/lib/anetcon/namespace.hash"',
}
"""For what has no default that could be written down."""
EXAMPLE = "  # an example, not the default"
RETENTION = """\
# Who spoke with whom, and when, is personal data: keep it as long as the law and your purpose need, and no longer.
# Half a year is usual. Without this setting records are kept until the disk is full.
retention_days = 180\
"""
GATEWAY = (DEFAULT_NETNS,)
"""The namespaces of a plain gateway."""
NETWORKS = """\
# [audit.networks]
# "qrouter-68fa7669-72b1-457b-8246-22ffef772f79" = ["10.0.0.0/8"]
"""
SINKS = """
# [sinks.siem]
# type = "json"
# to = "file:/var/log/anetcon/connections.json"
"""
"""An example."""


def sample(gateway: bool = False) -> str:
    """The text of the file; for a plain `gateway` it sets which namespaces are audited."""
    sinks = "\n".join(["", *described(f"{SETTINGS['sinks'].help}, such as a file that a SIEM reads; an example")])
    return HEAD + "".join(_table(name, gateway) for name in ("", *TABLES)) + sinks + SINKS


def _table(name: str, gateway: bool) -> str:
    own = [setting for setting in SETTINGS.values() if setting.key.rpartition(".")[0] == name]
    head = f"\n[{name}]\n" if name else ""
    plain = [
        line for setting in own if setting.key not in ("audit.networks", "sinks") for line in _lines(setting, gateway)
    ]
    text = head + "\n".join(plain) + "\n"
    if name == "audit":
        text += "\n".join(["", *described(SETTINGS["audit.networks"].help)]) + "\n" + NETWORKS
    return text


def _lines(setting: Setting, gateway: bool) -> Iterator[str]:
    yield ""
    yield from described(setting.help)
    if setting.key == "store.retention_days":
        yield RETENTION
        return
    if gateway and setting.key == "audit.namespaces":
        yield f"namespaces = {value_text(GATEWAY)}"
        return
    number = f"{setting.default:g}" if isinstance(setting.default, float) else ""
    written = EXAMPLES.get(setting.key) or number or value_text(setting.default)
    yield f"# {setting.key.rpartition('.')[2]} = {written}" + EXAMPLE * (setting.key in EXAMPLES)
