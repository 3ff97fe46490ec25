"""The bash ANetCon's configuration file (/etc/anetcon.conf): shell-style assignments -> settings, each with its line.

What the file does not set has the defaults of the bash ANetCon: LOG rules by iptables, TCP alone. Refuses to execute
the file: it is parsed (`config.old.shell`), and what only a shell could do is an error that names the line.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from anetcon.config.load import Given
from anetcon.config.old import grep, shell
from anetcon.errors import ConfigError

IMPLIED: dict[str, Any] = {
    "audit.namespaces": [],
    "audit.engine": "iptables-log",
    "audit.protocols": "tcp",
    "logs.file": "/var/log/anetcon/anetcon.log",
}
"""What the old program did without a key for it, or by default."""

DEFAULT_NETNS = "default"


class Seed:
    """A file that was read: a `config.load.ConfigFile`. Raises ConfigError."""

    def __init__(self, file: Path, text: str) -> None:
        self.given = {key: Given(value, str(file)) for key, value in IMPLIED.items()}
        """What the file sets; and, over our defaults, what the bash ANetCon did without being told."""
        self._lines: dict[tuple[str, str], int] = {}
        """By name of the file's own, and by item of its value; of a whole setting the item is empty."""
        try:
            for name, variable in _settings(text):
                key, convert = _KEYS[name]
                if (value := convert(name, variable)) is not None:
                    self.given[key] = Given(value, f"{file}:{variable.line}", name)
                for word in variable.words:
                    self._lines |= dict.fromkeys([(name, each) for each in (word.text, *word.text.split())], word.line)
                self._lines[name, ""] = variable.line
        except shell.ShellError as error:
            raise ConfigError(f"{file}:{error.line}: {error}") from error

    def line_of(self, key: str, item: str = "") -> int:
        """The line of a setting, or of one item of it; 1 for what the file does not set."""
        name = self.name_of(key)
        return self._lines.get((name, item)) or self._lines.get((name, ""), 1)

    def name_of(self, key: str) -> str:
        """The file's own name of a setting."""
        while key and key not in _NAMES:
            key = key.rpartition(".")[0]
        return _NAMES.get(key, key)


def _settings(text: str) -> Iterator[tuple[str, shell.Variable]]:
    """The variables that are settings; every other has to be used by one."""
    assigned = shell.read(text)
    for name, variable in assigned.variables.items():
        if name in _KEYS:
            _check_texts(name, variable)
            yield name, variable
        elif name not in assigned.used:
            raise shell.ShellError(variable.line, _unknown(name))


def _check_texts(name: str, variable: shell.Variable) -> None:
    """What no value may be. Blanks of any kind are between networks."""
    for word in variable.words:
        if not (" ".join(word.text.split()) if name == "NETS" else word.text).isprintable():
            raise shell.ShellError(word.line, f"{name} holds what is no printable UTF-8 text: {word.text!r}")


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.upper(), _KEYS, 1)
    return f"there is no setting {name}; " + (
        f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(_KEYS))}"
    )


def _text(_name: str, variable: shell.Variable) -> str:
    return variable.text


def _text_if_any(_name: str, variable: shell.Variable) -> str | None:
    return variable.text or None


def _is_true(_name: str, variable: shell.Variable) -> bool:
    return variable.text == "true"


def _is_set(_name: str, variable: shell.Variable) -> bool:
    return variable.text != ""


def _seconds(name: str, variable: shell.Variable) -> float:
    value = variable.text
    if not re.fullmatch(r"\d+(\.\d+)?", value) or not 0 < float(value) <= 86400:
        raise shell.ShellError(
            variable.line, f"{name} must be a number of seconds, above 0, at most 86400, not {value!r}"
        )
    return float(value)


def _patterns(name: str, variable: shell.Variable) -> list[str]:
    """Entries of NAMESPACES are patterns of grep."""
    return [_pattern(name, entry) for entry in variable.words]


def _pattern(name: str, entry: shell.Word) -> str:
    if entry.text == DEFAULT_NETNS:
        return entry.text
    if not entry.text or " " in entry.text:
        what = (
            f"has {entry.text!r}, which is one pattern and finds no namespace" if entry.text else "has an empty pattern"
        )
        raise shell.ShellError(entry.line, f'{name} {what}: write {name}=( "…" "…" )')
    try:
        pattern = grep.to_python(entry.text)
        re.compile(pattern)
    except (ValueError, re.error) as error:
        raise shell.ShellError(entry.line, f"{name} has the bad regular expression {entry.text!r}: {error}") from error
    return pattern


def _pairs(name: str, variable: shell.Variable) -> dict[str, list[str]]:
    """NETS: the name of a namespace, then its networks in one text. One named twice has both lists."""
    values = variable.words
    found: dict[str, list[str]] = {}
    for first, second in zip(values[::2], values[1::2], strict=False):
        if not first.text or _is_network(first.text):
            raise shell.ShellError(
                first.line,
                f"{name} has {first.text!r} where the name of a namespace must be: it is pairs of a name and, in "
                "quotes, its networks",
            )
        networks = second.text.split()
        if not networks:
            raise shell.ShellError(second.line, f"{name} has no networks for {first.text!r}")
        for network in networks:
            if not _is_network(network):
                raise shell.ShellError(second.line, f"{name} has the bad network {network!r} for {first.text!r}")
        found[first.text] = [*found.get(first.text, []), *networks]
    if len(values) % 2:
        raise shell.ShellError(values[-1].line, f"{name} has the name {values[-1].text!r} without networks behind it")
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
