"""The man pages, generated from the command line, the configuration model and the exit statuses.

Plain man(7) macros, one page a command and one for the configuration. A generator for it: those there are (click-man,
argparse-manpage, help2man) read another library's commands or the text of --help, and none knows our settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from anetcon import __version__
from anetcon.config.load import SETTINGS
from anetcon.config.model import TABLES, Setting, SinkSettings, sink_settings
from anetcon.config.toml_text import value_text
from anetcon.errors import statuses
from tools.described import Command, Parameter

FOR_ROOT = ("run", "doctor", "install", "uninstall", "import", "demo", "keys", "sign")
"""Commands of an administrator: section 8."""
FILES = {
    "/etc/anetcon/anetcon.toml": "the configuration, see anetcon.toml(5)",
    "/etc/anetcon.conf": "the configuration of the bash ANetCon, which is read if there is no other",
    "/var/lib/anetcon": "journal and store",
    "/var/log/anetcon": "the two text logs",
}
TOML = ("anetcon.toml", 5)
Page = tuple[str, int]


def pages(program: Command) -> dict[Page, str]:
    """The text of every page, by name and section."""
    made = {("anetcon", 1): _program_page(program), TOML: _configuration_page()}
    return made | {_page(command): _command_page(command, program) for command in program.commands}


def _page(command: Command) -> Page:
    name = command.name.replace(" ", "-")
    return name, 8 if command.name.partition(" ")[2] in FOR_ROOT else 1


def _program_page(program: Command) -> str:
    lines = [*_head("anetcon", 1, program.first_line)]
    lines += [".SH SYNOPSIS", r".B anetcon", r".I command", r"[\fIoptions\fR]"]
    lines += [".SH DESCRIPTION", *_text(_without_first_line(program) or program.help)]
    lines += [".SH COMMANDS"]
    for command in program.commands:
        name, section = _page(command)
        lines += [".TP", rf"\fB{_escaped(name)}\fR({section})", *_text(command.first_line)]
    lines += [".SH OPTIONS", *_parameters(program.options)]
    lines += [".SH EXIT STATUS"]
    for status, meaning in statuses():
        lines += [".TP", f".B {status}", *_text(meaning)]
    lines += [".SH FILES"]
    for path, meaning in FILES.items():
        lines += [".TP", f".I {_escaped(path)}", *_text(meaning)]
    return _joined(lines)


def _command_page(command: Command, program: Command) -> str:
    name, section = _page(command)
    lines = [*_head(name, section, command.first_line), ".SH SYNOPSIS"]
    leaves = command.commands or (command,)
    for number, leaf in enumerate(leaves):
        arguments = " ".join(rf"\fI{_escaped(each.value)}\fR" for each in leaf.arguments)
        lines += [
            *([".br"] if number else []),
            rf"\fB{_escaped(leaf.name)}\fR {arguments} [\fIoptions\fR]".replace("  ", " "),
        ]
    lines += [".SH DESCRIPTION", *_text(command.help)]
    if command.commands:
        for leaf in leaves:
            lines += [f".SS {_escaped(leaf.name)}", *_text(leaf.help), *_parameters((*leaf.arguments, *leaf.options))]
    elif shown := (*command.arguments, *command.options):
        lines += [".SH OPTIONS", *_parameters(shown)]
    lines += [".SH EXIT STATUS", *_text("As in anetcon(1).")]
    others = [_page(each) for each in program.commands if each is not command]
    lines += [".SH SEE ALSO", ",\n".join(_reference(*page) for page in [("anetcon", 1), TOML, *others])]
    return _joined(lines)


def _configuration_page() -> str:
    lines = [*_head(*TOML, "configuration of anetcon"), ".SH DESCRIPTION"]
    lines += _text(
        "One TOML file, `/etc/anetcon/anetcon.toml`. Every setting has a default: an empty file is a whole "
        "configuration. Environment variables come over the file (`ANETCON_AUDIT_PERIOD=10`), options of "
        "`anetcon run` over both. `anetcon config show` prints every value and where it came from. `anetcon config "
        "check` says whether the file can be used. An unknown key is an error that names the nearest one."
    )
    for table in ("", *TABLES):
        lines += [f".SH {_escaped(f'[{table}]' if table else 'BEFORE THE FIRST TABLE')}"]
        if table:
            lines += _text((TABLES[table].__doc__ or "").strip())
        for setting in SETTINGS.values():
            if setting.key.rpartition(".")[0] == table:
                lines += _setting(setting)
    lines += [f".SH {_escaped('[sinks.NAME]')}", *_text((SinkSettings.__doc__ or "").strip())]
    lines += [line for setting in sink_settings() for line in _setting(setting)]
    lines += [".SH SEE ALSO", _reference("anetcon", 1) + ",", _reference("anetcon-config", 1)]
    return _joined(lines)


def _setting(setting: Setting) -> list[str]:
    has = "" if setting.default in (None, "", {}) else f" Default: {value_text(setting.default)}."
    about = f"{setting.help}. Takes {setting.expects}.{has}"
    return [".TP", f".B {_escaped(setting.key.rpartition('.')[2])}", *_text(about)]


def _head(name: str, section: int, about: str) -> Iterator[str]:
    yield r".\" Written by anetcon itself, from its commands and settings: edit those, not this."
    yield f'.TH {_escaped(name.upper())} {section} "" "anetcon {__version__}" "ANetCon"'
    yield ".SH NAME"
    yield f"{_escaped(name)} \\- {_escaped(about[:1].lower() + about[1:].rstrip('.'))}"


def _parameters(shown: tuple[Parameter, ...]) -> Iterator[str]:
    for each in shown:
        names = ", ".join(rf"\fB{_escaped(name)}\fR" for name in each.names)
        value = rf"\fI{_escaped(each.value)}\fR" if each.value else ""
        yield ".TP"
        yield " ".join(part for part in (names, value) if part)
        default = f" Default: {each.default}." if each.default else " Required." if each.required else ""
        yield from _text((each.help or "As above.").rstrip(".") + "." + default)


def _reference(name: str, section: int) -> str:
    return rf"\fB{_escaped(name)}\fR({section})"


def _without_first_line(command: Command) -> str:
    return command.help.partition("\n")[2].strip()


def _text(text: str) -> Iterator[str]:
    """Paragraphs, a sentence a line as man pages have it; what is between backticks is bold."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        for sentence in re.split(r"(?<=[.:;]) (?=[A-Z])", " ".join(paragraph.split())):
            line = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", _escaped(sentence))
            yield rf"\&{line}" if line[:1] in (".", "'") else line


def _escaped(text: str) -> str:
    """Text that roff takes as it stands: a dash that can be copied, other characters by their number."""
    plain = (
        text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("^", r"\(ha").replace("~", r"\(ti")
    )
    return "".join(char if char.isascii() else rf"\[u{ord(char):04X}]" for char in plain)


def _joined(lines: list[str]) -> str:
    return "\n".join([*lines, ""])
