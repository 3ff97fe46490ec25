"""The command line as data: what the reference page, the man pages and the completion of shells are made of.

Read from the commands themselves, so that none of the three can say something else. Imports every command.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import typer


@dataclass(frozen=True)
class Parameter:
    """An option (`names`) or an argument (none). `value` is what it takes, empty for a flag."""

    names: tuple[str, ...]
    value: str
    help: str
    default: str
    """As it would be typed; empty where that says nothing."""
    required: bool
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """A command, by its whole name; a group has `commands`."""

    name: str
    help: str
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]
    commands: tuple[Command, ...]

    @property
    def first_line(self) -> str:
        """What it is for, in one line."""
        return self.help.splitlines()[0] if self.help else ""


def described() -> Command:
    """The whole program."""
    from anetcon.cli.main import app

    return _command("anetcon", typer.main.get_command(app))


def _command(name: str, command: Any) -> Command:
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    inner = getattr(command, "commands", {})
    return Command(
        name,
        (command.help or "").strip(),
        tuple(_parameter(each) for each in shown if each.param_type_name == "argument"),
        tuple(_parameter(each) for each in shown if each.param_type_name != "argument"),
        tuple(_command(f"{name} {part}", sub) for part, sub in inner.items() if not sub.hidden),
    )


def _parameter(each: Any) -> Parameter:
    argument = each.param_type_name == "argument"
    choices = tuple(member.value for member in type(each.default)) if isinstance(each.default, Enum) else ()
    value = "|".join(choices) or each.metavar or each.name.upper()
    flag = not argument and (each.is_flag or each.count)
    return Parameter(
        () if argument else (*each.opts, *each.secondary_opts),
        "" if flag else value,
        each.help or "",
        _default(each),
        bool(each.required),
        choices,
    )


def _default(each: Any) -> str:
    if isinstance(getattr(each, "show_default", None), str):
        return str(each.show_default)
    if each.required or each.default in (None, "", False, ()):
        return ""
    if getattr(each, "is_flag", False):
        return str((each.opts if each.default else each.secondary_opts)[0])
    return str(getattr(each.default, "value", each.default))
