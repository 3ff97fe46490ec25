"""`anetcon doctor`: what on this host would silence or weaken the audit, with the remedy for each. Changes nothing."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from anetcon import bash
from anetcon.cli.options import with_options
from anetcon.cli.output import VERSION, Format, FormatOption, print_rows
from anetcon.cli.overrides import Overrides
from anetcon.cli.people import print_json, say
from anetcon.doctor.examine import examine
from anetcon.doctor.finding import Finding, Severity
from anetcon.system.printable import visible

if bash.has("legacy"):
    from anetcon.legacy import check

PROBLEMS = 1
NOT_ALL_CHECKED = 3
STYLES = {"problem": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}
NAMED = 3
"""So many namespaces with the same finding are named in a table, the others counted."""
INDENT = " " * 9


@with_options(Overrides)
def doctor(
    overrides: Overrides,
    netns: Annotated[
        list[str] | None, typer.Argument(metavar="[NETNS]...", help="Look at these namespaces only.")
    ] = None,
    form: FormatOption = Format.TABLE,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also list what is well.")] = False,
) -> None:
    """Find what would silence or weaken the audit of this host.

    Says for each finding what it means and what to do. Changes nothing.

    Exit status 0: no problem, though there may be warnings and notes. 1: a problem. 3: no problem, but doctor could not
    look at everything.
    """
    found = examine(overrides.load().resolved(), netns or [], check if bash.has("legacy") else None)
    if form is Format.JSON:
        print_json(answer(found))
    elif form is Format.TABLE:
        _table(found, verbose)
    else:
        print_rows(form, [row(each) for each in found])
    status = exit_status(found)
    if status:
        raise typer.Exit(status)


def exit_status(found: Iterable[Finding]) -> int:
    """The exit status that fits these findings."""
    every = list(found)
    if any(each.severity is Severity.PROBLEM for each in every):
        return PROBLEMS
    return 0 if all(each.checked for each in every) else NOT_ALL_CHECKED


def row(each: Finding) -> dict[str, Any]:
    """A finding as it is in JSON: a promise (docs/reference/json.md)."""
    subject = "host" if each.netns is None else "namespace"
    return {
        "severity": each.severity.value,
        "check": each.check,
        "subject": subject,
        "netns": each.netns,
        "checked": each.checked,
        "found": each.found,
        "means": each.means or None,
        "remedy": each.remedy or None,
    }


def answer(found: Sequence[Finding]) -> dict[str, Any]:
    """Everything as it is in JSON."""
    counts = {severity.value: sum(each.severity is severity for each in found) for severity in Severity}
    worst = max((each.severity for each in found), key=lambda severity: severity.rank, default=Severity.OK)
    return {
        "version": VERSION,
        "worst": worst.value,
        "complete": all(each.checked for each in found),
        "counts": counts,
        "findings": [row(each) for each in found],
    }


def grouped(found: Iterable[Finding]) -> list[list[Finding]]:
    """What is the same in many namespaces together, the worst first; else in the order of the checks."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for each in found:
        own = each.netns or ""
        words = (text.replace(own, "\0") if own else text for text in (each.found, each.means, each.remedy))
        groups.setdefault((each.severity.value, each.check, "host" if each.netns is None else "", *words), []).append(
            each
        )
    return sorted(groups.values(), key=lambda group: -group[0].severity.rank)


def _table(found: Sequence[Finding], verbose: bool) -> None:
    shown = grouped(each for each in found if verbose or each.severity is not Severity.OK)
    terminal = sys.stdout.isatty()
    width = min(100, shutil.get_terminal_size().columns) if terminal else 0
    for group in shown:
        _print(group, width)
    say(_last_line(found))


def _last_line(found: Sequence[Finding]) -> str:
    counts: dict[str, int] = answer(found)["counts"]
    ill = [f"{number} {name}{'s' * (number > 1)}" for name, number in reversed(counts.items()) if name != "ok"]
    ill = [text for text in ill if not text.startswith("0 ")]
    return f"{len(found)} checks, " + (", ".join([*ill, f"{counts['ok']} well"]) if ill else "all well")


def _print(group: Sequence[Finding], width: int) -> None:
    first = group[0]
    where = first.netns or "host"
    names = [str(each.netns) for each in group]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    if len(group) > 1:
        where = f"{len(group)} namespaces"
    lines = [f"{first.severity.value:8} {where}: {first.found}"]
    lines += [f"{INDENT}in {', '.join(names[:NAMED])}{more}"] if len(group) > 1 else []
    lines += [f"{INDENT}{first.means}"] if first.means else []
    more_remedy = f" (so in each of the {len(group)})" if len(group) > 1 and str(first.netns) in first.remedy else ""
    last = [f"{INDENT}-> {first.remedy}{more_remedy}"] if first.remedy else []
    if not width:
        say(*lines, *last)
        return
    lines, last = ([visible(line) for line in some] for some in (lines, last))
    _on_terminal([each for line in lines for each in _wrapped(line, width)] + last, first.severity)


def _wrapped(line: str, width: int) -> list[str]:
    """Lines no wider than the terminal. Not for remedies: a command that was cut could not be copied."""
    return textwrap.wrap(line, width, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False)


def _on_terminal(lines: Sequence[str], severity: Severity) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    for number, line in enumerate(lines):
        text = Text(line)
        if number == 0:
            text.stylize(STYLES[severity.value], 0, len(severity.value))
        elif line.startswith(f"{INDENT}-> "):
            text.highlight_regex(r"`[^`]+`", "bold")
        console.print(text)
