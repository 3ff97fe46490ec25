"""`anetcon config`: show every value and where it came from, say whether the configuration can be used, and turn the
old format into TOML."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from anetcon import bash
from anetcon.cli.options import with_options
from anetcon.cli.output import VERSION, Format, FormatOption, print_rows
from anetcon.cli.overrides import DaemonOverrides
from anetcon.cli.people import print_json, say, warn
from anetcon.config.load import STANDARD_FILES, Loaded, load
from anetcon.config.logrotate import logrotate_text
from anetcon.config.model import value_of
from anetcon.config.rsyslog import rsyslog_text
from anetcon.errors import ConfigError
from anetcon.keeper.namespaces import READABLE
from anetcon.link import capabilities
from anetcon.store import layout
from anetcon.store.coverage import running

if bash.has("config.old"):
    from anetcon.config.old.migrate import toml

OLD_FILE = STANDARD_FILES[-1]

app = typer.Typer(
    help="Show, check or migrate the configuration; starts nothing.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("show")
@with_options(DaemonOverrides)
def show(overrides: DaemonOverrides, form: FormatOption = Format.TABLE) -> None:
    """Print every setting, its value and where that came from.

    With --format json also prints `resolved`: the settings as the daemon's processes get them.
    """
    loaded = overrides.load()
    values = {key: {"value": value_of(loaded.config, key), "from": loaded.source(key)} for key in loaded.sources}
    if form is Format.JSON:
        print_json({"version": VERSION, "settings": values, "resolved": loaded.resolved()})
        return
    rows = [{"key": key} | entry for key, entry in values.items()]
    print_rows(form, [row | {"value": _toml(row["value"])} for row in rows] if form is Format.TABLE else rows)


@app.command("check")
@with_options(DaemonOverrides)
def check(context: typer.Context, overrides: DaemonOverrides) -> None:
    """Say whether the configuration can be used; exit status 5 if not.

    If MAINPID is set, as systemd sets it for a reload, also says whether that daemon can take the configuration over.
    Then the options that the daemon was started with count, unless other options are given here.
    """
    process = os.environ.get("MAINPID")
    if process and not overrides.arguments() and (given := _given_to(process)):
        context.command.main(given, standalone_mode=False)
        return
    loaded = overrides.load()
    if process:
        require_taken_over(loaded, process)
    say(f"{_name(loaded)} can be used")


def migrate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file in the old format.")] = OLD_FILE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE, which must not exist yet.")
    ] = None,
) -> None:
    """Print a configuration in the old format as TOML: the same settings, with comments on what to change next."""
    text = toml(load(file, environment={}))
    if output is None:
        sys.stdout.write(text)
        return
    if output.suffix != ".toml":
        raise ConfigError(f"the name {output} must end with .toml: the daemon knows the format by that")
    try:
        with output.open("x") as made:
            made.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{output} is there already: give another --output, or move it away") from error
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}") from error
    warn(f"{output} is written; check it by `anetcon config check -c {output}`")


if bash.has("config.old"):
    app.command("migrate")(migrate)


@app.command("rsyslog")
@with_options(DaemonOverrides)
def rsyslog(overrides: DaemonOverrides) -> None:
    """Print 30-anetcon.conf: with it rsyslog writes the text logs from the kernel's lines (LOG engines only)."""
    sys.stdout.write(rsyslog_text(overrides.load().config.logs))


@app.command("logrotate")
@with_options(DaemonOverrides)
def logrotate(overrides: DaemonOverrides) -> None:
    """Print the file for logrotate: it rotates the text logs and the daemon's own log."""
    sys.stdout.write(logrotate_text(overrides.load().config))


def _given_to(process: str) -> list[str]:
    """The options of a daemon: what its keeper was given for it (anetcon.keeper.main)."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{process}/cmdline").read_bytes().removesuffix(b"\0").split(b"\0")
        return [os.fsdecode(word) for word in words[words.index(b"--") + 1 :]] if b"--" in words else []
    return []


def require_taken_over(loaded: Loaded, process: str) -> None:
    """Raise AnetconError for what that daemon refuses: none moves its store, gains a capability, reads another file
    than it was started with or watches a folder that it may not read, which is tried as who this is."""
    store = Path(loaded.config.store.path)
    if str(running(store)) not in (process, "0"):  # 0: it could not write who it is
        raise ConfigError(f"the daemon, process {process}, has another store than {store}: restart it to move it")
    file = _read_by(process, store)
    if file and not (loaded.file and Path(file).resolve() == loaded.file.resolve()):
        raise ConfigError(f"the daemon, process {process}, reads {file}: restart it to have it use {_name(loaded)}")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        capabilities.require(loaded.config.audit.engine, process)
    try:
        os.scandir(loaded.config.audit.netns_dir).close()
    except PermissionError as error:
        raise ConfigError(f"cannot list {loaded.config.audit.netns_dir}: {error.strerror}; {READABLE}") from error
    except OSError:
        pass  # it may come yet


def _read_by(process: str, store: Path) -> str | None:
    """The file that a daemon reads at a reload, by its own word; None where it looks for one, or has not said."""
    if _given_to(process):
        return None
    with contextlib.suppress(OSError, ValueError):
        said = json.loads(layout.status_path(store).read_bytes())
        return said.get("settings_file") if str(said.get("pid")) == process else None
    return None


def _name(loaded: Loaded) -> str:
    return str(loaded.file) if loaded.file else "the default configuration"


def _toml(value: Any) -> str:
    """A value about as it is written in the file."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(entry)}" for name, entry in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
