"""The old configuration file (/etc/anetcon.conf): shell-style assignments -> settings, each with its line.

What the file does not set has the old program's defaults: LOG rules by iptables, TCP alone. Refuses to execute the
file: it is parsed (`config.shell`), and what only a shell could do is an error naming the line.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from anetcon.config.old import grep, shell

IMPLIED: dict[str, Any] = {
    "audit.namespaces": [],
    "audit.engine": "iptables-log",
    "audit.protocols": "tcp",
    "logs.file": "/var/log/anetcon/anetcon.log",
}
"""What the old program did without a key for it, or by default."""

DEFAULT_NETNS = "default"


class Value(NamedTuple):
    """A setting as the file has it: `name` is the file's own key."""

    key: str
    value: Any
    line: int
    name: str


class SeedError(ValueError):
    """What is wrong with a line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


class Seed(NamedTuple):
    """Every setting of a file, and on which line an entry of one stands."""

    values: dict[str, Value]
    entries: dict[tuple[str, str], int]

    def line_of(self, key: str, item: str = "") -> int:
        """The line of a setting, or of one entry of it; 1 for what the file does not set."""
        name = self.name_of(key)
        value = next((each for each in self.values.values() if each.name == name), None)
        return self.entries.get((name, item)) or (value.line if value else 1)

    def name_of(self, key: str) -> str:
        """The file's own name of a setting."""
        while key and key not in _NAMES:
            key = key.rpartition(".")[0]
        return _NAMES.get(key, key)


def read(text: str) -> Seed:
    """The settings of a file. Raises SeedError."""
    try:
        assigned = shell.read(text)
    except shell.ShellError as error:
        raise SeedError(error.line, error.reason) from error
    values: dict[str, Value] = {}
    entries: dict[tuple[str, str], int] = {}
    for name, variable in assigned.variables.items():
        if name not in _KEYS:
            if name not in assigned.used:
                raise SeedError(variable.line, _unknown(name))
            continue
        _check_texts(name, variable)
        key, convert = _KEYS[name]
        value = convert(name, variable)
        if value is not None:
            values[key] = Value(key, value, variable.line, name)
        entries |= {(name, entry.text): entry.line for entry in variable.values()}
        entries |= {(name, part): entry.line for entry in variable.values() for part in entry.text.split()}
    return Seed(values, entries)


def _check_texts(name: str, variable: shell.Variable) -> None:
    """What no value may be. Blanks of any kind are between networks."""
    for entry in variable.values():
        if not (" ".join(entry.text.split()) if name == "NETS" else entry.text).isprintable():
            raise SeedError(entry.line, f"{name} holds what is no printable UTF-8 text: {entry.text!r}")
    if variable.glued:
        raise SeedError(variable.glued, f"{name}+=… adds to the text of the first entry: write {name}+=( … )")


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.upper(), _KEYS, 1)
    return f"there is no setting {name}; " + (
        f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(_KEYS))}"
    )


def _text(_name: str, variable: shell.Variable) -> str:
    return variable.value()


def _text_if_any(_name: str, variable: shell.Variable) -> str | None:
    return variable.value() or None


def _is_true(_name: str, variable: shell.Variable) -> bool:
    return variable.value() == "true"


def _is_set(_name: str, variable: shell.Variable) -> bool:
    return variable.value() != ""


def _seconds(name: str, variable: shell.Variable) -> float:
    value = variable.value()
    if not re.fullmatch(r"\d+(\.\d+)?", value) or not 0 < float(value) <= 86400:
        raise SeedError(variable.line, f"{name} must be a number of seconds, above 0, at most 86400, not {value!r}")
    return float(value)


def _patterns(name: str, variable: shell.Variable) -> list[str]:
    """Entries of NAMESPACES are patterns of grep."""
    return [_pattern(name, entry) for entry in variable.values()]


def _pattern(name: str, entry: shell.Entry) -> str:
    if entry.text == DEFAULT_NETNS:
        return entry.text
    if not entry.text or " " in entry.text:
        what = (
            f"has {entry.text!r}, which is one pattern and finds no namespace" if entry.text else "has an empty pattern"
        )
        raise SeedError(entry.line, f'{name} {what}: write {name}=( "…" "…" )')
    try:
        pattern = grep.to_python(entry.text)
        re.compile(pattern)
    except (ValueError, re.error) as error:
        raise SeedError(entry.line, f"{name} has the bad regular expression {entry.text!r}: {error}") from error
    return pattern


def _pairs(name: str, variable: shell.Variable) -> dict[str, list[str]]:
    """NETS: the name of a namespace, then its networks in one text. One named twice has both lists."""
    values = variable.values()
    found: dict[str, list[str]] = {}
    for first, second in zip(values[::2], values[1::2], strict=False):
        if not first.text or _is_network(first.text):
            raise SeedError(
                first.line,
                f"{name} has {first.text!r} where the name of a namespace must be: it is pairs of a name and, in "
                "quotes, its networks",
            )
        networks = second.text.split()
        if not networks:
            raise SeedError(second.line, f"{name} has no networks for {first.text!r}")
        for network in networks:
            if not _is_network(network):
                raise SeedError(second.line, f"{name} has the bad network {network!r} for {first.text!r}")
        found[first.text] = [*found.get(first.text, []), *networks]
    if len(values) % 2:
        raise SeedError(values[-1].line, f"{name} has the name {values[-1].text!r} without networks behind it")
    return found


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


_KEYS: dict[str, tuple[str, Callable[[str, shell.Variable], Any]]] = {
    "NAMESPACES": ("audit.namespaces", _patterns),
    "NETS": ("audit.networks", _pairs),
    "PERIOD": ("audit.period", _seconds),
    "DEBUG": ("logs.debug", _is_set),
    "CHAIN_NAME": ("audit.chain", _text_if_any),
    "LOG_PREFIX": ("logs.prefix", _text),
    "LOG_PREFIX_DNAT": ("logs.prefix_dnat", _text),
    "LOG_PREFIX_OTHER": ("logs.prefix_other", _text),
    "LOG_NAMESPACE_HASH": ("logs.namespace_hash", _is_true),
    "NAMESPACE_HASH_FILE": ("logs.namespace_hash_file", _text),
    "LOGFILE": ("logs.file", _text),
}
_NAMES = {key: name for name, (key, _) in _KEYS.items()}


def names() -> Iterator[tuple[str, str]]:
    """The old names and the settings they became, for the documentation."""
    yield from ((name, key) for name, (key, _) in _KEYS.items())
