"""The configuration: one frozen struct a TOML table, each setting with its default, its unit in the name and one line
of help. The reference page and `config show` derive from here. Refuses to read files: `config.load` does.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from anetcon import protocols
from anetcon.link.engine_kinds import KINDS


def _kind(words: str) -> dict[str, str]:
    """What a setting expects, in the words of error messages and of the reference page."""
    return {"expects": words}


Flag = Annotated[bool, Meta(extra=_kind("true or false"))]
Text = Annotated[str, Meta(extra=_kind("a text"))]
FilePath = Annotated[str, Meta(extra=_kind("an absolute path"))]
Texts = Annotated[tuple[str, ...], Meta(extra=_kind("a list of texts"))]
Seconds = Annotated[float, Meta(gt=0, le=86400, extra=_kind("seconds, above 0, at most 86400"))]
FlushSeconds = Annotated[float, Meta(gt=0, le=10, extra=_kind("seconds, above 0, at most 10"))]
Minutes = Annotated[float, Meta(gt=0, le=1440, extra=_kind("minutes, above 0, at most 1440"))]
Share = Annotated[float, Meta(gt=0, le=1, extra=_kind("a share, above 0, at most 1"))]
Days = Annotated[float, Meta(gt=0, extra=_kind("a number of days above 0"))]
Gigabytes = Annotated[float, Meta(ge=0, extra=_kind("a number, 0 or above"))]
Memory = Annotated[float, Meta(ge=4, le=65536, extra=_kind("megabytes, from 4 to 65536"))]
Megabytes = Annotated[float, Meta(ge=0, extra=_kind("megabytes, 0 or above"))]
Amount = Annotated[float, Meta(gt=0, extra=_kind("a number above 0"))]
Bytes = Annotated[int, Meta(ge=4096, le=1 << 40, extra=_kind("a whole number of bytes, at least 4096"))]
if TYPE_CHECKING:
    Engine = str
else:
    Engine = Literal[tuple(KINDS)]
Events = Annotated[tuple[Literal["start", "end"], ...], Meta(extra=_kind('["start", "end"] or ["end"]'))]
Protocols = Annotated[
    str | tuple[str | int, ...], Meta(extra=_kind('"all", a protocol or a list of protocols (names or numbers)'))
]
Networks = Annotated[dict[str, tuple[str, ...]], Meta(extra=_kind("a table: name of a namespace = list of networks"))]
Sinks = Annotated[dict[str, dict[str, Any]], Meta(extra=_kind("a table a sink: [sinks.NAME]"))]

NEUTRON_ROUTERS = "^(qrouter|snat|fip)-"
DEFAULT_NETNS = "default"
"""The entry of `namespaces` that means the namespace the daemon was started in; no pattern matches that one."""

RSYSLOG_FILE = "/etc/rsyslog.d/30-anetcon.conf"
"""Where a site that keeps rsyslog has it sort the kernel's lines into the text logs."""

CHAIN = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,27}")
"""A name both iptables (28 bytes, no leading dash) and nft take."""
TAKEN = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", "ACCEPT", "DROP", "QUEUE", "RETURN", "LOG"}

SINK_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
TEXT_LOGS = "text"
"""What the saved position of the text logs is called, so that no sink's may be."""

PREFIX_LIMIT = 29
"""Bytes of a kernel LOG prefix; readers of the text logs rely on it."""
HASH_LENGTH = len("[01234567]")


class AuditSettings(Struct, frozen=True, kw_only=True):
    """What is audited, and how."""

    namespaces: Annotated[
        Texts,
        Meta(
            description="network namespaces to audit: regular expressions, searched in their names. `default` is "
            "the one the daemon is started in; add it on a plain NAT gateway. As it stands: the routers "
            "of OpenStack Neutron"
        ),
    ] = (NEUTRON_ROUTERS,)
    netns_dir: Annotated[FilePath, Meta(description="folder in which network namespaces have their names")] = (
        "/run/netns"
    )
    protocols: Annotated[Protocols, Meta(description="which protocols are recorded")] = "all"
    engine: Annotated[
        Engine,
        Meta(
            description="where the daemon learns of connections: the kernel's connection "
            "tracking, or lines of LOG rules"
        ),
    ] = "conntrack"
    period: Annotated[
        Seconds, Meta(description="seconds between two full listings of the namespaces (new ones are seen at once)")
    ] = 30.0
    record: Annotated[Events, Meta(description="which events are recorded: starts and ends, or ends alone")] = (
        "start",
        "end",
    )
    on_overload: Annotated[
        Literal["hold", "shed"],
        Meta(
            description="what happens if events come faster than capture reads them: the kernel holds the ends "
            "back, or loses some"
        ),
    ] = "hold"
    guard_share: Annotated[
        Share,
        Meta(description="share of the connection table above which hold ends, so that traffic never suffers"),
    ] = 0.7
    activate_conntrack: Annotated[
        Flag,
        Meta(
            description="make connection tracking run in namespaces where no rule uses it, by an nftables "
            "table of our own"
        ),
    ] = False
    record_invalid: Annotated[
        Flag,
        Meta(
            description="count packets that conntrack calls invalid and that leave the router, and record a sample "
            "of them (engine conntrack). It takes an nftables table of our own, and works only if "
            "conntrack runs already"
        ),
    ] = False
    buffer_bytes: Annotated[Bytes, Meta(description="receive buffer asked for in each namespace, in bytes")] = 2 << 20
    buffers_total_bytes: Annotated[
        Bytes, Meta(description="limit of all receive buffers together, in bytes; many namespaces get smaller ones")
    ] = 1 << 30
    networks: Annotated[
        Networks,
        Meta(
            description="for each namespace named: the source networks from which connections of class nat are "
            "recorded (class float always is)"
        ),
    ] = msgspec.field(default_factory=dict)
    public: Annotated[
        Texts,
        Meta(
            description="networks of public addresses that are here though no interface has them, such as the pool "
            "of a router. If nothing is found of such an address, that is then an answer"
        ),
    ] = ()
    chain: Annotated[
        Text,
        Meta(
            description="name of our chain in the nat table, engine iptables-log (nftables-log: our table is anetcon)"
        ),
    ] = "anetcon"


class StoreSettings(Struct, frozen=True, kw_only=True):
    """Where records are kept."""

    path: Annotated[FilePath, Meta(description="folder of journal and store")] = "/var/lib/anetcon"
    flush_seconds: Annotated[
        FlushSeconds, Meta(description="seconds between two writes of the journal: what a crash of capture can cost")
    ] = 0.5
    sync_seconds: Annotated[
        Seconds, Meta(description="seconds between two syncs of the journal: what a power cut can cost")
    ] = 5.0
    seal_minutes: Annotated[Minutes, Meta(description="minutes after which the journal is sealed into Parquet")] = 10.0
    compact: Annotated[
        Flag,
        Meta(
            description="put small files together when an hour and a day are over, at the lowest priority. Without it "
            "questions take longer the older the store is; `anetcon compact` does it by hand"
        ),
    ] = True
    memory_megabytes: Annotated[
        Memory,
        Meta(
            description="memory in which records wait while the disk is full; if that is full, capture "
            "drops and counts them"
        ),
    ] = 64.0
    journal_megabytes: Annotated[
        Megabytes,
        Meta(
            description="size of sealed journal that is kept for text logs and sinks that are behind. What is "
            "beyond that is missing there, and nowhere else"
        ),
    ] = 2048.0
    retention_days: Annotated[
        Days | None, Meta(description="days after which records are removed, whole days at a time; without it never")
    ] = None
    max_gigabytes: Annotated[
        Amount | None,
        Meta(description="size of journal and store above which the oldest records are removed; without it no limit"),
    ] = None
    min_free_gigabytes: Annotated[
        Gigabytes | None,
        Meta(
            description="free space below which the oldest records are removed; 0: never. Without it 1 GB, or 5 % "
            "of the file system if that is less, and then nothing younger than a week"
        ),
    ] = None


class LogSettings(Struct, frozen=True, kw_only=True):
    """The two text logs, anetcon.nat.log and anetcon.float.log, and the daemon's own log."""

    enabled: Annotated[Flag, Meta(description="write the text logs")] = True
    writer: Annotated[
        Literal["auto", "anetcon", "rsyslog"],
        Meta(
            description="who writes the text logs: the daemon, or rsyslog from the kernel's lines (LOG engines only). "
            f"With auto, rsyslog does if the engine is a LOG engine and {RSYSLOG_FILE} exists, else the daemon"
        ),
    ] = "auto"
    dir: Annotated[FilePath, Meta(description="folder of the text logs")] = "/var/log/anetcon"
    prefix: Annotated[Text, Meta(description="how every line begins")] = "[ANETCON]"
    prefix_dnat: Annotated[Text, Meta(description="what follows in lines of class float")] = "[D]"
    prefix_other: Annotated[Text, Meta(description="what follows in lines of class nat")] = "[X]"
    namespace_hash: Annotated[
        Flag, Meta(description="whether the hash of the namespace follows: 8 hex digits of the md5 of its name")
    ] = True
    namespace_hash_file: Annotated[
        Annotated[str, Meta(extra=_kind("an absolute path, or an empty text for none"))] | None,
        Meta(description="file that lists namespaces with their hashes; without it namespace.hash in the store"),
    ] = None
    file: Annotated[
        Annotated[str, Meta(extra=_kind("an absolute path, or an empty text for none"))],
        Meta(description="the daemon's own log; without it messages go to standard error"),
    ] = ""
    debug: Annotated[Flag, Meta(description="write much more about what the daemon does into its own log")] = False


class SinkSettings(Struct, frozen=True, kw_only=True):
    """Where else records go; as many as you like, each with a name of its own. A name is letters, digits, - and _."""

    type: Annotated[Literal["json"], Meta(description="how a record is written: a line of JSON")]
    form: Annotated[
        Literal["anetcon"],
        Meta(description="the keys of a record: those of `anetcon follow --format jsonl`, and `type`"),
    ] = "anetcon"
    to: Annotated[
        str,
        Meta(
            description="where they go: a file",
            pattern=r"^file:/.*[^/\n]\Z",
            extra=_kind("file: and an absolute path, as file:/var/log/anetcon/connections.json"),
        ),
    ]

    @property
    def path(self) -> str:
        """The file."""
        return self.to.removeprefix("file:")


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration."""

    node: Annotated[Text, Meta(description="name of this machine in every record; without it the host name")] = ""
    audit: AuditSettings = AuditSettings()
    store: StoreSettings = StoreSettings()
    logs: LogSettings = LogSettings()
    sinks: Annotated[Sinks, Meta(description="outputs of your own for records")] = msgspec.field(default_factory=dict)

    @property
    def every_sink(self) -> dict[str, SinkSettings]:
        """By name, of a configuration that has no problem."""
        return {name: SinkSettings(**given) for name, given in self.sinks.items()}


TABLES: dict[str, type[Struct]] = {"audit": AuditSettings, "store": StoreSettings, "logs": LogSettings}


class Setting(NamedTuple):
    """One key of the configuration. `annotation` is what msgspec checks a value against."""

    key: str
    expects: str
    default: Any
    help: str
    annotation: Any


def settings() -> Iterator[Setting]:
    """Every key, in the order of the reference page."""
    structs: dict[str, type[Struct]] = {"": Config, **TABLES}
    for table, struct in structs.items():
        yield from _settings(table, struct)


def sink_settings() -> list[Setting]:
    """Every key of a sink; one that has to be given has the default None."""
    return list(_settings("", SinkSettings))


def _settings(table: str, struct: type[Struct]) -> Iterator[Setting]:
    hints = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        if field.name in TABLES:
            continue
        annotation = hints[field.name]
        default = field.default
        if default is msgspec.NODEFAULT:
            default = None if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        key = f"{table}.{field.name}".lstrip(".")
        yield Setting(key, _expects(annotation), default, _description(annotation), annotation)


def _metas(annotation: Any) -> list[Meta]:
    """Every Meta of an annotation, the outermost first."""
    if get_origin(annotation) is Annotated:
        inner, *metas = get_args(annotation)
        return [*reversed([m for m in metas if isinstance(m, Meta)]), *_metas(inner)]
    return [meta for part in get_args(annotation) if part is not type(None) for meta in _metas(part)]


def _description(annotation: Any) -> str:
    return next((m.description for m in _metas(annotation) if m.description), "")


def _expects(annotation: Any) -> str:
    for meta in _metas(annotation):
        if meta.extra:
            return str(meta.extra["expects"])
    literal = get_args(annotation)[0]
    return " or ".join(f'"{choice}"' for choice in get_args(literal))


class Problem(NamedTuple):
    """What is wrong with a value of the right type; `item` is the offending part of it, to find its line by."""

    key: str
    item: str
    message: str


def problems(config: Config) -> Iterator[Problem]:
    """Everything that makes a configuration unusable though every value has the right type."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", config.node):
        yield Problem("node", config.node, f"must be letters, digits, dots and dashes, not {config.node!r}")
    for key in ("audit.netns_dir", "store.path", "logs.dir", "logs.namespace_hash_file", "logs.file"):
        path = value_of(config, key)
        if path and not path.startswith("/"):
            yield Problem(key, path, f"must be an absolute path, not {path!r}")
    yield from _audit_problems(config.audit)
    yield from _prefix_problems(config.logs)
    engine = config.audit.engine
    if KINDS[engine].kernel_log:
        yield from _log_engine_problems(config.logs)
    elif config.logs.writer == "rsyslog":
        yield Problem("logs.writer", "", f'cannot be "rsyslog" with engine {engine}: the kernel writes no lines then')
    yield from _sink_problems(config)


def _sink_problems(config: Config) -> Iterator[Problem]:
    """The first of each sink."""
    logs = config.logs
    taken = {logs.file: "logs.file", logs.namespace_hash_file: "logs.namespace_hash_file"}
    taken |= {f"{logs.dir}/anetcon.{kind}.log": "logs.dir" for kind in ("nat", "float")}
    for name, given in config.sinks.items():
        problem = _sink_problem(name, given)
        if problem is None and (path := SinkSettings(**given).path) in taken:
            problem = Problem(f"sinks.{name}.to", "", f"is the file of {taken[path]}, {path}: give it one of its own")
        if problem is None:
            taken[path] = f"sinks.{name}"
        else:
            yield problem


def _sink_problem(name: str, given: dict[str, Any]) -> Problem | None:
    if not SINK_NAME.fullmatch(name) or name == TEXT_LOGS:
        return Problem(f"sinks.{name}", "", f"needs another name than {name!r}: letters, digits, - and _, not `text`")
    known = {setting.key: setting for setting in sink_settings()}
    for key, value in given.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            advice = f"did you mean {near[0]}?" if near else f"a sink has {', '.join(known)}"
            return Problem(f"sinks.{name}.{key}", "", f"is no setting of a sink; {advice}")
        try:
            msgspec.convert(value, known[key].annotation)
        except msgspec.ValidationError:
            return Problem(f"sinks.{name}.{key}", "", f"must be {known[key].expects}, not {value!r}")
    missing = [key for key, setting in known.items() if setting.default is None and key not in given]
    if missing:
        return Problem(f"sinks.{name}", "", f"has no {missing[0]}: it must be {known[missing[0]].expects}")
    return None


def _audit_problems(audit: AuditSettings) -> Iterator[Problem]:
    for pattern in audit.namespaces:
        try:
            re.compile(pattern)
        except re.error as error:
            yield Problem("audit.namespaces", pattern, f"has the bad regular expression {pattern!r}: {error}")
    if not audit.namespaces:
        yield Problem("audit.namespaces", "", "is empty: nothing would be audited")
    for key, networks in (("public", audit.public), *((f"networks.{name}", of) for name, of in audit.networks.items())):
        for network in networks:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError:
                yield Problem(f"audit.{key}", network, f"has the bad network {network!r}: write it like 10.0.0.0/24")
    if not CHAIN.fullmatch(audit.chain) or audit.chain in TAKEN:
        yield Problem(
            "audit.chain",
            audit.chain,
            f"must be a chain name of our own: at most 28 letters, digits, dots, dashes and underscores, not "
            f"{audit.chain!r}",
        )
    if not audit.record or "end" not in audit.record:
        yield Problem("audit.record", "", 'must be ["start", "end"] or ["end"]')
    try:
        protocol_numbers(audit.protocols)
    except ValueError as error:
        yield Problem("audit.protocols", "", f"is wrong: {error}")


def _prefix_problems(logs: LogSettings) -> Iterator[Problem]:
    longest = max(logs.prefix_dnat, logs.prefix_other, key=len)
    length = len(f"{logs.prefix}{longest} ".encode()) + HASH_LENGTH * logs.namespace_hash
    if length > PREFIX_LIMIT:
        key = max(("logs.prefix", "logs.prefix_dnat", "logs.prefix_other"), key=lambda k: len(getattr(logs, k[5:])))
        yield Problem(key, "", f"and what goes with it are {length} bytes together; at most {PREFIX_LIMIT}")
    for key in ("logs.prefix", "logs.prefix_dnat", "logs.prefix_other"):
        value = getattr(logs, key.removeprefix("logs."))
        if not value.isprintable():
            yield Problem(key, "", f"must be printable on one line, not {value!r}")


def _log_engine_problems(logs: LogSettings) -> Iterator[Problem]:
    """The prefix is what a kernel line is recognized by."""
    if logs.prefix_dnat == logs.prefix_other:
        yield Problem("logs.prefix_dnat", "", "and logs.prefix_other must differ: they tell which rule wrote a line")
    for key in ("logs.prefix", "logs.prefix_dnat", "logs.prefix_other"):
        value = getattr(logs, key.removeprefix("logs."))
        if not value.isascii():
            yield Problem(
                key, "", f"must be ASCII with a LOG engine, not {value!r}: the kernel writes other bytes as codes"
            )
    if not logs.prefix:
        yield Problem("logs.prefix", "", "is empty: our lines could not be told from others of the kernel")


def protocol_numbers(chosen: str | tuple[str | int, ...]) -> list[int] | None:
    """The protocol numbers that `audit.protocols` stands for; None for all. Raises ValueError for a wrong one."""
    if chosen == "all":
        return None
    names = (chosen,) if isinstance(chosen, str) else chosen
    return sorted({protocols.number(str(name)) for name in names})


def value_of(config: Config, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
