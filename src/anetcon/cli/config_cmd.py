"""`anetcon config`: show every value and where it came from, or say whether the configuration can be used."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer

from anetcon.cli.filters import with_options
from anetcon.cli.output import VERSION, Format, FormatOption, print_rows
from anetcon.cli.overrides import Overrides
from anetcon.config.load import Loaded
from anetcon.config.model import value_of

app = typer.Typer(
    help="Show or check the configuration; starts nothing.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("show")
@with_options(Overrides)
def show(overrides: Overrides, form: FormatOption = Format.TABLE) -> None:
    """Print every setting, its value and where that came from.

    As JSON also `resolved`: the settings as the daemon's processes are given them.
    """
    loaded = overrides.load()
    values = {key: {"value": value_of(loaded.config, key), "from": source} for key, source in loaded.sources.items()}
    if form is Format.JSON:
        json.dump({"version": VERSION, "settings": values, "resolved": loaded.resolved()}, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    rows = [{"key": key} | entry for key, entry in values.items()]
    print_rows(form, [row | {"value": _toml(row["value"])} for row in rows] if form is Format.TABLE else rows)


@app.command("check")
@with_options(Overrides)
def check(overrides: Overrides) -> None:
    """Say whether the configuration can be used; exit status 5 if not."""
    loaded = overrides.load()
    typer.echo(f"{_name(loaded)} can be used")


def _name(loaded: Loaded) -> str:
    return str(loaded.file) if loaded.file else "the default configuration"


def _toml(value: Any) -> str:
    """A value about as it is written in the file."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(entry)}" for name, entry in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
