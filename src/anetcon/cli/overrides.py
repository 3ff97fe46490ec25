"""The options that come over the configuration file, shared by `run` and `config`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from anetcon.config.load import PATHS, Given, Loaded, load

OPTIONS = {
    "store": ("--store", "store.path"),
    "log_dir": ("--log-dir", "logs.dir"),
    "namespace": ("--namespace", "audit.namespaces"),
    "period": ("--period", "audit.period"),
    "engine": ("--engine", "audit.engine"),
    "log_file": ("--log-file", "logs.file"),
    "verbose": ("--verbose", "logs.debug"),
}
"""Which option sets which key."""


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """A configuration file and what comes over it."""

    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            readable=False,
            help="Configuration file, if not /etc/anetcon/anetcon.toml.",
        ),
    ] = None
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="Folder of the journal and the store.")
    ] = None
    log_dir: Annotated[Path | None, typer.Option("--log-dir", metavar="DIR", help="Folder of the text logs.")] = None
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            "--namespace", "-n", metavar="RE", help="Namespace to audit, by regular expression; may be repeated."
        ),
    ] = None
    period: Annotated[
        float | None,
        typer.Option("--period", "-p", metavar="SECONDS", help="Seconds between two listings of the namespaces."),
    ] = None
    engine: Annotated[
        str | None, typer.Option("--engine", help="Source of connections: conntrack, iptables-log or nftables-log.")
    ] = None

    def load(self) -> Loaded:
        """The configuration as it is with these options. Raises ConfigError."""
        return load(self.config, {key: Given(value, option) for option, key, value in self._given()})

    def arguments(self) -> list[str]:
        """The options again, for another program: paths absolute."""
        words = ["--config", str(self.config.absolute())] if self.config else []
        for option, key, value in self._given():
            if value is True:
                words.append(option)
                continue
            for one in value if isinstance(value, list) else [value]:
                words += [option, str(Path(one).absolute()) if key in PATHS else str(one)]
        return words

    def _given(self) -> Iterator[tuple[str, str, Any]]:
        for name, (option, key) in OPTIONS.items():
            value = getattr(self, name, None)
            if value is not None and value is not False and value != []:
                yield option, key, str(value) if isinstance(value, Path) else value


@dataclass(frozen=True, kw_only=True)
class DaemonOverrides(Overrides):
    """What comes over the file for the daemon, and for who asks what the daemon would be given."""

    log_file: Annotated[
        Path | None,
        typer.Option("--log-file", "-l", metavar="FILE", help="File for the daemon's own log, if not standard error."),
    ] = None
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Write much more into the daemon's own log.")] = False
