"""Write what derives from the code, pages of docs/reference, man pages and completion: `python -m tools.docs`.

With --check it only says which of them are out of date.

Fields come from the field table, settings from the configuration model, exit statuses from the error classes, commands
from the command line itself: none of these is edited by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from anetcon import errors, gaps, record
from anetcon.config import model
from tools import completion, manual
from tools.described import Command, Parameter, described

ROOT = Path(__file__).parents[1]
REFERENCE, SHARE = ROOT / "docs" / "reference", ROOT / "src" / "anetcon" / "share"
NOTICE = "<!-- Written by `make docs` from {source}: edit that, not this. -->"

KINDS = {
    "time": ("timestamp[us, UTC]", "", "text, RFC 3339 UTC with microseconds"),
    "text": ("string", "", "text"),
    "enum": ("string", "", "text"),
    "address": ("fixed 16 bytes, IPv4 as ::ffff:a.b.c.d", "", "text"),
    "mac": ("fixed 6 bytes", "", "text"),
    "u8": ("uint8", "int16", "number"),
    "u16": ("uint16", "int32", "number"),
    "u32": ("uint32", "int64", "number"),
    "u64": ("uint64", "int64", "number"),
}

TABLES = {
    "connections": "One row a connection in the store; in the journal a row for its start and a row for its end.",
    "gaps": "When something could not be recorded, and why.",
    "addresses": "Which addresses a namespace itself had, and when.",
    "neighbours": "Which MAC address stood behind an address of a connected network, and when.",
    "routes": "Which networks were connected to a namespace or routed behind it, by which interface, and when.\n"
    "They are unicast routes of every table but `local`, a row an interface. A namespace with more than 1,000 routes\n"
    "has none.",
    "listings": "When capture listed a whole connection table after a loss. What was open at `from` has a row of\n"
    "origin `dump` before `to`; what has none had ended.",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table; a bar inside a cell is escaped."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines]


def fields() -> list[str]:
    """Every table of journal and store."""
    lines = [
        "# Record fields",
        "",
        "The fields of each table, with their type in the journal (Arrow) and in JSON. Names and types are a promise;",
        f"a change of meaning changes the format number, which is {record.FORMAT}. A field marked *internal* is in the",
        "files only: it is not part of JSON, CSV or tables.",
        "",
        "The column *in files* says what is different in the store's Parquet files: numbers are signed there, and wide",
        "enough for the same values. Times, ports and `bytes_in` are encoded as `DELTA_BINARY_PACKED`. Addresses and",
        "`bytes_out` are `PLAIN`, all else is `RLE_DICTIONARY`.",
    ]
    for name, columns in record.TABLES.items():
        rows = []
        for field in columns:
            stored, in_files, shown = KINDS[field.kind]
            in_files = in_files if field.sealed else f"{in_files}, only in `open/`"
            shown = "text: the name" if field.name == "proto" else shown
            values = f": {', '.join(f'`{v}`' for v in field.values)}" if field.values else ""
            marks = f"{', null' if field.nullable else ''}{values}"
            shown = shown if field.public else "*internal*"
            rows.append([f"`{field.name}`", stored + marks, in_files, shown, field.meaning])
        head = ("field", "in the journal", "in files", "in JSON", "meaning")
        lines += ["", f"## {name}", "", TABLES[name], "", *table(head, rows)]
    return lines


def toml(value: Any) -> str:
    """A default as it would be written in the file."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{part}"' for part in value) + "]`"
    if isinstance(value, dict):
        return "none"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def configuration() -> list[str]:
    """Every setting, by table of the file."""
    lines = [
        "# Configuration",
        "",
        "The configuration is one TOML file, `/etc/anetcon/anetcon.toml` unless `-c` names another.",
        "",
        "- Every setting has a default: an empty file is a whole configuration.",
        "- Environment variables come over the file (`ANETCON_AUDIT_PERIOD=10`), options of `anetcon run` over both.",
        "- `ANETCON_STORE` is short for `ANETCON_STORE_PATH`: every command looks there.",
        "- `anetcon config show` prints every value and where it came from; `anetcon config check` says whether the",
        "  file can be used. Neither starts anything.",
        "- An unknown key is an error that names the nearest one.",
    ]
    by_table: dict[str, list[list[str]]] = {"": [], **{name: [] for name in model.TABLES}}
    for setting in model.settings():
        name, _, key = setting.key.rpartition(".")
        by_table[name].append([f"`{key}`", setting.expects, toml(setting.default), setting.help])
    for name, rows in by_table.items():
        title = f"[{name}]" if name else "Before the first table"
        about = [(model.TABLES[name].__doc__ or "").strip(), ""] if name else []
        lines += ["", f"## {title}", "", *about, *table(("key", "takes", "default", "meaning"), rows)]
    rows = [
        [f"`{key}`", expects, "required" if default is None else toml(default), about]
        for key, expects, default, about, _ in model.sink_settings()
    ]
    about = [(model.SinkSettings.__doc__ or "").strip(), ""]
    return [*lines, "", "## [sinks.NAME]", "", *about, *table(("key", "takes", "default", "meaning"), rows)]


def exit_statuses() -> list[str]:
    """Answers first, then errors."""
    rows = [[str(status), meaning] for status, meaning in errors.statuses()]
    return [
        "# Exit statuses",
        "",
        "0, 1 and 3 are answers. 2 is wrong usage. From 4 on it is an error: one sentence says what to do.",
        "",
        *table(("status", "meaning"), rows),
    ]


def usage(parameter: Parameter) -> str:
    """An option or argument as it is typed."""
    names = ", ".join(f"`{name}`" for name in parameter.names)
    return " ".join(part for part in (names, parameter.value and f"`{parameter.value}`") if part)


def default(parameter: Parameter) -> str:
    """What holds without the option, where that says something."""
    return "required" if parameter.required else parameter.default and f"`{parameter.default}`"


def command_page(command: Command) -> list[str]:
    """One command; of a group, each of its commands."""
    inner = command.commands
    lines = [] if inner and command.name != "anetcon" else ["", f"## {command.name}", "", command.help]
    if not inner:
        lines += ["", " ".join(["Usage:", f"`{command.name}`", *map(usage, command.arguments), "[options]"])]
    shown = [*command.arguments, *command.options]
    if lines and shown:
        lines += ["", *table(("", "default", ""), [[usage(p), default(p), p.help] for p in shown])]
    return lines + [line for sub in inner for line in command_page(sub)]


def commands() -> list[str]:
    """Every command, from the command line itself."""
    head = ["# Commands", "", "`anetcon COMMAND --help` says the same, laid out for the terminal."]
    return head + command_page(described())


def gap_causes() -> list[str]:
    """Every cause of a gap."""
    rows = [[f"`{cause}`", cause.meaning, cause.todo] for cause in gaps.Cause]
    return [
        "# Causes of gaps",
        "",
        "A gap is a record: node, namespace (null: all), from, to and cause. If the kernel tells how many connections",
        "or events were lost, the gap has the number. `from` null means before anything was recorded; `to` null means",
        "that the gap lasts.",
        "",
        *table(("cause", "what it means", "what to do"), rows),
        "",
        f"No connection is missing for {_listed(sorted(gaps.WHOLE))}.",
        "They tell of something beside the connections and make no answer incomplete. `anetcon gaps` lists them too.",
        "",
        f"For {_listed(sorted(gaps.UNTRANSLATED))} only connections are missing that nothing translated. A question",
        "about a NAT address (translated, or the router's own) is complete all the same; any other question is not.",
        f"If {_listed(sorted(gaps.NOTES))} do not make an answer incomplete, it tells of them as a note.",
    ]


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(f"`{name}`" for name in names[:-1]), f"`{names[-1]}`")))


PAGES: dict[str, tuple[str, Callable[[], list[str]]]] = {
    "fields.md": ("src/anetcon/record.py", fields),
    "configuration.md": ("src/anetcon/config/model.py", configuration),
    "exit-statuses.md": ("src/anetcon/errors.py", exit_statuses),
    "gaps.md": ("src/anetcon/gaps.py", gap_causes),
    "commands.md": ("src/anetcon/cli", commands),
}


def shipped() -> Iterator[tuple[Path, str]]:
    """What is installed beside the program: man pages and completion."""
    program = described()
    for (name, section), text in manual.pages(program).items():
        yield SHARE / "man" / f"{name}.{section}", text
    for shell, text in completion.scripts(program).items():
        yield SHARE / "completion" / shell, text


def pages() -> Iterator[tuple[Path, str]]:
    """Each page of the reference."""
    for name, (source, page) in PAGES.items():
        yield REFERENCE / name, "\n".join([NOTICE.format(source=source), "", *page(), ""])


def main(check: bool) -> int:
    """Write what differs, and remove what is no more; with `check` only name it. 1 if anything is out of date."""
    wanted = dict([*pages(), *shipped()])
    stale = {path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text}
    left = [path for path in SHARE.glob("*/*") if path not in wanted]
    names = [str(path.relative_to(ROOT)) for path in (*stale, *left)]
    if check:
        if names:
            print(f"out of date: {', '.join(names)}; run `make docs`", file=sys.stderr)
        return int(bool(names))
    for path, text in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in left:
        path.unlink()
    for name in names:
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
