"""Options that commands share: the filters of `query.filters` as the command line takes them, the store, a limit."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from anetcon.cli.people import warn
from anetcon.errors import ConfigError
from anetcon.query import filters
from anetcon.query.filters import Option, Unusable

STORE = Path("/var/lib/anetcon")
"""Where the daemon keeps its records unless it is told otherwise."""


STORE_VARIABLE = "ANETCON_STORE"


def configured_store() -> Path:
    """Where the daemon of this machine keeps its records; with no configuration that can be read, where it would."""
    if given := os.environ.get(STORE_VARIABLE):
        return Path(given)
    from anetcon.config.load import load  # not where the folder is given: a question is answered sooner

    try:
        return Path(load().config.store.path)
    except ConfigError as error:
        warn(f"{error}; looking in {STORE}, or name a folder with --store")
        return STORE


StoreOption = Annotated[
    Path,
    typer.Option(
        "--store",
        metavar="DIR",
        readable=False,
        help="Folder of the journal and the store.",
        default_factory=configured_store,
        show_default=f"${STORE_VARIABLE}, else the configured one, else {STORE}",
    ),
]
"""Whoever opens the store says who may read it."""


def option(of: Option) -> Any:
    """An option as typer takes it."""
    return typer.Option(of.name, metavar=of.metavar, help=of.about)


NetnsOption = Annotated[list[str] | None, option(filters.NETNS)]
NodeOption = Annotated[list[str] | None, option(filters.NODE)]
TzOption = Annotated[str, option(filters.TZ)]
LimitOption = Annotated[
    int, typer.Option("--limit", metavar="N", min=0, help="Print at most N connections; 0 means all.")
]


def bad(name: str, message: str) -> typer.BadParameter:
    """Wrong usage of an option."""
    return typer.BadParameter(message, param_hint=f"--{name.replace('_', '-')}")


def with_options(*groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these dataclasses: it takes one of each, by the parameter of that type. What an
    option cannot have is wrong usage."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.annotation not in groups]
        taken = {p.annotation: p.name for p in signature.parameters.values() if p.annotation in groups}
        names = {group: [field.name for field in fields(group)] for group in groups}
        added = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hint)
            for group in groups
            for field, hint in zip(fields(group), _hints(group), strict=True)
        ]

        @wraps(command)
        def wrapper(**values: Any) -> None:
            for group, parameter in taken.items():
                values[parameter] = group(**{name: values.pop(name) for name in names[group]})
            try:
                command(**values)
            except Unusable as error:
                raise bad(error.option, str(error)) from None

        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
        wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapper

    return decorate


def _hints(group: type) -> list[Any]:
    """The annotations of a dataclass's fields, as typer takes them."""
    hints = [get_args(hint) for hint in get_type_hints(group, include_extras=True).values()]
    return [Annotated[kind, option(of) if isinstance(of, Option) else of] for kind, of in hints]
