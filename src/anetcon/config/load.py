"""Defaults < file < environment < command line -> one checked configuration, and where each value came from.

The file is TOML; one whose name does not end with .toml is the bash ANetCon's (`config.old`). Environment variables are
named ANETCON_<TABLE>_<KEY> (ANETCON_NODE for a key without a table), their values TOML too, or plain text where a text
is expected. Whatever is wrong is a ConfigError of one sentence that names
the file and line, the variable or the option. Starts nothing, writes nothing.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from anetcon import bash
from anetcon.config.model import RSYSLOG_FILE, TABLES, Config, Setting, problems, protocol_numbers, settings
from anetcon.errors import ConfigError
from anetcon.link.engine_kinds import KINDS

STANDARD_FILES = (Path("/etc/anetcon/anetcon.toml"), Path("/etc/anetcon.conf"))
DEFAULT = "default"
PATHS = ("audit.netns_dir", "store.path", "logs.dir", "logs.namespace_hash_file", "logs.file")

_TOML_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")
_NOT_TOML = (ValueError, RecursionError)
"""What tomllib raises; also of a number that Python does not read, and of brackets without end."""

SETTINGS: dict[str, Setting] = {setting.key: setting for setting in settings()}


class Given(NamedTuple):
    """A value as somebody wrote it, and where; `name`, where it is not called by its key there."""

    value: Any
    source: str
    name: str = ""


class ConfigFile(Protocol):
    """A file that was read, whatever its format."""

    @property
    def given(self) -> Mapping[str, Given]:
        """Every setting that it makes, by key."""

    def line_of(self, key: str, item: str = "") -> int:
        """The line of a setting, or of one item of its value. `key` may be part of a setting that is a table."""

    def name_of(self, key: str) -> str:
        """What the file calls a setting."""


class Loaded(NamedTuple):
    """A checked configuration. `sources` names for every key where its value came from."""

    config: Config
    sources: dict[str, str]
    file: Path | None
    why: Mapping[str, str] = MappingProxyType({})
    """By key: how a value that stands for another was resolved."""

    def source(self, key: str) -> str:
        """Where a value came from, and what it was resolved by."""
        return f"{self.sources[key]}: {self.why[key]}" if key in self.why else self.sources[key]

    def resolved(self) -> dict[str, Any]:
        """The settings as plain values, for processes that import nothing: protocols as "all" or a list of numbers."""
        values: dict[str, Any] = msgspec.to_builtins(self.config)
        values["audit"]["protocols"] = protocol_numbers(self.config.audit.protocols) or "all"
        values["audit"]["networks"] = {
            name: [str(ipaddress.ip_network(network, strict=False)) for network in networks]
            for name, networks in self.config.audit.networks.items()
        }
        values["sinks"] = {name: msgspec.to_builtins(sink) for name, sink in self.config.every_sink.items()}
        values["settings_file"] = str(self.file.absolute()) if self.file else None
        values["sources"] = {key: self.source(key) for key in SETTINGS}
        return values


def load(
    file: Path | None = None,
    options: Mapping[str, Given] | None = None,
    environment: Mapping[str, str] | None = None,
    rsyslog_file: Path = Path(RSYSLOG_FILE),
    standard_files: Sequence[Path] | None = None,
) -> Loaded:
    """The configuration of `file` (without one: the first standard file that exists), under environment and options."""
    standard = STANDARD_FILES if standard_files is None else standard_files
    file = file or next((path for path in standard if os.path.exists(path)), None)  # noqa: PTH110 - it never raises
    read = _read(file) if file else None
    given = dict(read.given) if read else {}
    given |= _from_environment(os.environ if environment is None else environment)
    for key, option in (options or {}).items():
        given[key] = option._replace(value=str(Path(option.value).absolute())) if key in PATHS else option
    config, why = _choose_writer(_fill_in(_build(given)), rsyslog_file)
    for problem in problems(config):
        key = _setting_of(problem.key)
        source, name = given[key].source if key in given else DEFAULT, problem.key
        if read and source.startswith(f"{file}:"):
            source, name = f"{file}:{read.line_of(problem.key, problem.item)}", read.name_of(problem.key)
        elif read and source == str(file):
            name = read.name_of(problem.key)
        raise ConfigError(f"{_place(source)}: {name} {problem.message}")
    return Loaded(config, {key: given[key].source if key in given else DEFAULT for key in SETTINGS}, file, why)


def _place(source: str) -> str:
    return "the default" if source == DEFAULT else source


def _setting_of(key: str) -> str:
    """The setting a dotted key belongs to: `audit.networks.qrouter-1` is part of `audit.networks`."""
    while key not in SETTINGS:
        key = key.rpartition(".")[0]
    return key


def _read(file: Path) -> ConfigFile:
    text = _text(file)
    if file.suffix == ".toml":
        return _Toml(file, text)
    if _has_tables(text):  # such as the anetcon.toml.new that `anetcon install` writes
        raise ConfigError(f"{file} is TOML and its name does not end with .toml: give it one that does")
    seed = bash.module("config.old.seed")
    if seed is None:
        raise ConfigError(f"{file} is no TOML: this version does not read the format of the bash ANetCon")
    found: ConfigFile = seed.Seed(file, text)
    return found


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode(errors="strict" if file.suffix == ".toml" else "surrogateescape")
    except PermissionError as error:
        raise ConfigError(
            f"cannot read the configuration {file}: be root or a member of group adm, which has to be its group "
            "(`chgrp adm`, `chmod 640`)"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read the configuration {file}: it is not UTF-8 text ({error.reason})") from error


def _has_tables(text: str) -> bool:
    try:
        return any(isinstance(value, dict) for value in tomllib.loads(text).values())
    except _NOT_TOML:
        return False


class _Toml:
    """A file of our own format."""

    def __init__(self, file: Path, text: str) -> None:
        self._text = text
        self.given = dict(_from_toml(file, text))

    def line_of(self, key: str, item: str = "") -> int:
        return line_of(self._text, key, item)

    def name_of(self, key: str) -> str:
        return key


def _from_toml(file: Path, text: str) -> Iterator[tuple[str, Given]]:
    try:
        content = tomllib.loads(text)
    except _NOT_TOML as error:
        place = _TOML_PLACE.search(str(error))
        line, column = (f":{place[1]}", f", from column {place[2]} on") if place else ("", "")
        raise ConfigError(
            f"{file}{line}: this is no TOML{column}: a text stands in quotes, a list in [ ], each key is there once"
        ) from error
    for name, value in content.items():
        if name not in TABLES:
            yield _known(name, f"{file}:{line_of(text, name)}"), Given(value, f"{file}:{line_of(text, name)}")
        elif not isinstance(value, dict):
            raise ConfigError(f"{file}:{line_of(text, name)}: {name} is a table of settings: write [{name}]")
        else:
            for key, entry in value.items():
                source = f"{file}:{line_of(text, f'{name}.{key}')}"
                yield _known(f"{name}.{key}", source), Given(entry, source)


def _known(key: str, source: str) -> str:
    if key in SETTINGS:
        return key
    last = {name.rpartition(".")[2]: name for name in SETTINGS}
    near = difflib.get_close_matches(key, [*SETTINGS, *(() if "." in key else TABLES)], 1) or [
        last[name] for name in difflib.get_close_matches(key.rpartition(".")[2], last, 1)
    ]
    advice = f"did you mean {near[0]}?" if near else "`anetcon config show` lists what there is"
    raise ConfigError(f"{source}: there is no setting {key}; {advice}")


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    """Variables of ours; one with the name of a table and an unknown key is an error, others are not ours."""
    names = {"ANETCON_" + key.upper().replace(".", "_"): key for key in SETTINGS} | {"ANETCON_STORE": "store.path"}
    for name, text in environment.items():
        table, _, rest = name.removeprefix("ANETCON_").lower().partition("_")
        if name in names:
            yield names[name], Given(_value(names[name], text), name)
        elif name.startswith("ANETCON_") and table in TABLES:
            _known(f"{table}.{rest}", name)


def _value(key: str, text: str) -> Any:
    """A variable's text as TOML; as it stands where that is a text or cannot be anything else."""
    annotation = SETTINGS[key].annotation
    if _fits(text, annotation):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except _NOT_TOML:
        return [text] if _fits([text], annotation) else text


def _fits(value: Any, annotation: Any) -> bool:
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        return False
    return True


def _build(given: Mapping[str, Given]) -> Config:
    tables: dict[str, dict[str, Any]] = {name: {} for name in ("", *TABLES)}
    for key, (value, source, _) in given.items():
        table, _, name = key.rpartition(".")
        try:
            tables[table][name] = msgspec.convert(value, SETTINGS[key].annotation)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{source}: {key} must be {SETTINGS[key].expects}, not {value!r}") from error
    structs: dict[str, Any] = {name: struct(**tables[name]) for name, struct in TABLES.items()}
    return Config(**tables[""], **structs)


def _fill_in(config: Config) -> Config:
    """Put in what is found out here and now: the host name, the file of hashes."""
    logs = config.logs
    if logs.namespace_hash_file is None:
        logs = msgspec.structs.replace(logs, namespace_hash_file=f"{config.store.path}/namespace.hash")
    return msgspec.structs.replace(config, node=config.node or socket.gethostname(), logs=logs)


def _choose_writer(config: Config, rsyslog_file: Path) -> tuple[Config, dict[str, str]]:
    """Who writes the text logs where that is left to us, and why."""
    if config.logs.writer != "auto":
        return config, {}
    writer: Literal["anetcon", "rsyslog"] = "anetcon"
    if not KINDS[config.audit.engine].kernel_log:
        why = f"engine {config.audit.engine} has no kernel lines that rsyslog could write"
    elif rsyslog_file.exists():
        writer, why = "rsyslog", f"{rsyslog_file} exists"
    else:
        why = f"there is no {rsyslog_file}"
    return msgspec.structs.replace(config, logs=msgspec.structs.replace(config.logs, writer=writer)), {
        "logs.writer": f"auto, {why}"
    }


_HEADER = re.compile(r"\s*\[+\s*(?P<name>[^\]]+?)\s*\]+\s*(#.*)?$")
_KEY = re.compile(r"\s*(?P<name>(?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=")


def line_of(text: str, key: str, item: str = "") -> int:
    """The line on which a dotted key is set, or its table begins; with `item`, the line of that part of its value.

    TOML parsers keep no lines: this reads the text again, and is only as exact as a message needs.
    """
    table, found = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _plain(header["name"])
            if key == table or (key.startswith(f"{table}.") and not found):
                found = number
        elif (entry := _KEY.match(line)) and _under(key, f"{table}.{_plain(entry['name'])}".lstrip(".")):
            found = number
            break
    if item and found:
        for number, line in enumerate(text.splitlines()[found - 1 :], found):
            if item in line or item.replace("\\", "\\\\") in line:
                return number
    return found or 1


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def _under(key: str, entry: str) -> bool:
    return key == entry or key.startswith(f"{entry}.")
