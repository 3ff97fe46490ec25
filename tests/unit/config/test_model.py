"""Every setting has what a user needs to know of it, and values are checked for more than their type."""

from __future__ import annotations

import msgspec
import pytest

from anetcon.config.model import (
    AuditSettings,
    Config,
    LogSettings,
    Setting,
    StoreSettings,
    problems,
    protocol_numbers,
    settings,
    value_of,
)

DEFAULTS = Config(node="gw1")
LOG = AuditSettings(engine="nftables-log")
SIEM = {"type": "json", "to": "file:/a.json"}
TEXT = SIEM | {"to": "file:/var/log/anetcon/anetcon.nat.log"}


@pytest.mark.parametrize("setting", list(settings()), ids=lambda setting: setting.key)
def test_every_setting_says_what_it_is(setting: Setting) -> None:
    """Each has one line of help, says what it takes, and its default is a value it takes."""
    assert setting.help
    assert "\n" not in setting.help
    assert setting.expects
    assert msgspec.convert(msgspec.to_builtins(setting.default), setting.annotation) == setting.default
    assert value_of(Config(), setting.key) == setting.default


def test_the_defaults_can_be_used() -> None:
    """Nothing is wrong with an empty file."""
    assert list(problems(DEFAULTS)) == []


@pytest.mark.parametrize(
    ("config", "key", "says"),
    [
        (Config(node="a/b"), "node", "a/b"),
        (Config(node="gw1", store=StoreSettings(path="store")), "store.path", "absolute"),
        (Config(node="gw1", audit=AuditSettings(namespaces=("^a", "b("))), "audit.namespaces", "'b('"),
        (Config(node="gw1", audit=AuditSettings(namespaces=())), "audit.namespaces", "nothing"),
        (Config(node="gw1", audit=AuditSettings(networks={"r": ("10.0.0.0/33",)})), "audit.networks.r", "10.0.0.0/33"),
        (Config(node="gw1", audit=AuditSettings(chain="a b")), "audit.chain", "'a b'"),
        (Config(node="gw1", audit=AuditSettings(chain="-a")), "audit.chain", "'-a'"),
        (Config(node="gw1", audit=AuditSettings(chain="POSTROUTING")), "audit.chain", "our own"),
        (Config(node="gw1", audit=AuditSettings(chain="a" * 29)), "audit.chain", "28"),
        (Config(node="gw1", logs=LogSettings(file="own.log")), "logs.file", "absolute"),
        (Config(node="gw1", logs=LogSettings(writer="rsyslog")), "logs.writer", "conntrack"),
        (Config(node="gw1", audit=LOG, logs=LogSettings(prefix_dnat="[X]")), "logs.prefix_dnat", "differ"),
        (Config(node="gw1", audit=LOG, logs=LogSettings(prefix="é")), "logs.prefix", "ASCII"),
        (Config(node="gw1", audit=LOG, logs=LogSettings(prefix="")), "logs.prefix", "empty"),
        (Config(node="gw1", audit=AuditSettings(record=("start",))), "audit.record", "end"),
        (Config(node="gw1", audit=AuditSettings(protocols=("tcp", "tpc"))), "audit.protocols", "tpc"),
        (Config(node="gw1", logs=LogSettings(prefix="[A VERY LONG PREFIX]")), "logs.prefix", "29"),
        (Config(node="gw1", logs=LogSettings(prefix_dnat="\n")), "logs.prefix_dnat", "line"),
        (Config(node="gw1", sinks={"siem": {"type": "syslog"}}), "sinks.siem.type", '"json"'),
        (Config(node="gw1", sinks={"a": SIEM, "b": SIEM}), "sinks.b.to", "the file of sinks.a"),
        (Config(node="gw1", sinks={"a": SIEM}, logs=LogSettings(file="/a.json")), "sinks.a.to", "logs.file"),
        (
            Config(node="gw1", sinks={"a": SIEM}, logs=LogSettings(namespace_hash_file="/a.json")),
            "sinks.a.to",
            "hash_file",
        ),
        (Config(node="gw1", sinks={"a": TEXT}), "sinks.a.to", "logs.dir"),
    ],
)
def test_unusable_values_are_found(config: Config, key: str, says: str) -> None:
    """Each unusable value is one problem that names its key and what is wrong."""
    (problem,) = problems(config)
    assert problem.key == key
    assert says in problem.message


def test_the_log_engines_can_be_used() -> None:
    """Nothing is wrong with the defaults under another engine, whoever writes the text logs."""
    for writer in ("auto", "anetcon", "rsyslog"):
        assert list(problems(msgspec.structs.replace(DEFAULTS, audit=LOG, logs=LogSettings(writer=writer)))) == []


def test_a_host_address_with_a_prefix_length_is_a_network() -> None:
    """`192.168.1.1/24`, as the old configuration's own example has it, is accepted."""
    assert list(problems(Config(node="gw1", audit=AuditSettings(networks={"r": ("192.168.1.1/24",)})))) == []


def test_protocols_become_numbers() -> None:
    """`all` is no restriction; names and numbers may be mixed, one alone needs no list."""
    assert protocol_numbers("all") is None
    assert protocol_numbers("tcp") == [6]
    assert protocol_numbers(("udp", 6, "tcp")) == [6, 17]
