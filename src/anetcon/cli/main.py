"""The command line. Each command is a file of its own, imported only when it is called: `--help` costs nothing.

What a user can cause ends in one sentence on stderr and the error's exit status; a closed pipe and Ctrl-C end
quietly; what cannot be printed because a disk is full is said, and is no answer.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
import traceback
from collections.abc import Iterator
from errno import EDQUOT, EFBIG, ENOSPC
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from anetcon import bash
from anetcon.cli.people import warn
from anetcon.cli.version import VersionOption
from anetcon.errors import DEFECT, AnetconError
from anetcon.system.printable import visible
from anetcon.system.report import ERROR, said

WrongUsage: Any = typer.BadParameter.__base__
"""What typer raises for it, whichever click is beneath."""

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("anetcon.cli.run:run", "Run the audit daemon in the foreground."),
    "who": ("anetcon.cli.who:who", "Find who was behind a public address at a given time."),
    "search": ("anetcon.cli.search:search", "Find connections by any field."),
    "match": ("anetcon.cli.match:match", "Find which addresses of a list anybody talked to."),
    "follow": ("anetcon.cli.follow:follow", "Print connections as they become known."),
    "status": ("anetcon.cli.status:status", "Show how the daemon is doing, namespace by namespace."),
    "gaps": ("anetcon.cli.gaps:gaps", "List the gaps: when something could not be recorded, and why."),
    "sql": ("anetcon.cli.sql_cmd:sql", "Ask in SQL about what is sealed, read only."),
    "verify": ("anetcon.cli.verify:verify", "Read the whole store again and compare it with its manifest."),
    "compact": ("anetcon.cli.compact:compact", "Put small files of the store together."),
    "export": ("anetcon.cli.export:export", "Write an evidence bundle of some time."),
    "keys": ("anetcon.cli.keys:app", "Make, show or renew the keys that sign the store."),
    "sign": ("anetcon.cli.sign:sign", "Sign what the daemon seals, until SIGTERM or SIGINT."),
    "doctor": ("anetcon.cli.doctor:doctor", "Find what would silence or weaken the audit of this host."),
    "config": ("anetcon.cli.config_cmd:app", "Show, check or migrate the configuration; starts nothing."),
    "install": ("anetcon.cli.install:install", "Install the service on this host, or into a tree."),
    "uninstall": ("anetcon.cli.uninstall:uninstall", "End the audit of this host and remove what was installed."),
    "import": ("anetcon.cli.import_cmd:import_", "Add old text logs to the store."),
    "demo": ("anetcon.cli.demo:demo", "Build a router in namespaces, make connections, ask about one."),
}
"""Every command: where it is, and its line of help, which is the first of its own."""

if not bash.has("history"):
    del COMMANDS["import"]

READING = {"who", "search", "match", "follow", "status", "gaps", "sql", "verify", "export"}
"""Those that read records: what they put into a temporary file is for nobody else."""

PIPE_CLOSED = 128 + 13  # as of a program that SIGPIPE ended
HELP_NAMES = {"help_option_names": ["-h", "--help"]}


class _Commands(dict[str, Any]):
    """The commands by name; each is imported when it is looked up."""

    def __missing__(self, name: str) -> Any:
        module, _, attribute = COMMANDS[name][0].partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP_NAMES)
            single.command(name)(found)
            found = single
        self[name] = command = typer.main.get_command(found)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def keys(self) -> Any:
        """Every name, without importing anything."""
        return COMMANDS.keys()

    def items(self) -> Any:
        """Every command, imported."""
        return [(name, self[name]) for name in COMMANDS]

    def get(self, name: str, default: Any = None) -> Any:
        """The command of that name."""
        return self[name] if name in COMMANDS else default


class _Lazy(TyperGroup):
    """The group of all commands."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.commands = _Commands()

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the signature is typer's
        """List the commands from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])

    def invoke(self, ctx: Any) -> Any:
        """Run a command; whatever a user can cause ends here."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except AnetconError as error:
            warn(said("anetcon", f"{ERROR}{error}"))
            raise typer.Exit(error.exit_status) from None
        except BrokenPipeError:
            _drop_output()
            raise typer.Exit(PIPE_CLOSED) from None
        except WrongUsage as error:
            raise _harmless(error) from None
        except OSError as error:
            _end_unprinted(error, ctx.invoked_subcommand)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the words, and print the help or the version, which need no command."""
        try:
            return super().make_context(*args, **kwargs)
        except WrongUsage as error:
            raise _harmless(error) from None
        except OSError as error:
            _end_unprinted(error, None)


def _harmless(error: Any) -> Any:
    """Wrong usage, as it may be printed: words that were pasted may have anything in them."""
    error.message = visible(error.message)
    return error


def _end_unprinted(error: OSError, command: str | None) -> NoReturn:
    """Say that the output could not be written, where that is what the error is of; else raise it."""
    if not _is_of_output(error, command):
        raise error
    _drop_output()
    warn(f"anetcon: cannot write the output: {error.strerror}; it is not whole: make room, and ask again")
    raise typer.Exit(AnetconError.exit_status) from None


def _is_of_output(error: OSError, command: str | None) -> bool:
    """Whether it is standard output that could not be written: all other files have a name. The daemon has no such
    output, and much else that may be full."""
    return command != "run" and error.filename is None and error.errno in (ENOSPC, EDQUOT, EFBIG)


def _drop_output() -> None:
    """Let what is left to print go nowhere: the interpreter flushes once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_streams() -> None:
    """Give a program that was started with a closed stream an empty one: the next file it opens, which may be one of
    the store, would be that stream. The daemon's processes, which are executed from here, inherit it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode)  # noqa: SIM115 - open as long as the program runs
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _print_whole() -> None:
    """Python is odd here: unbuffered (PYTHONUNBUFFERED, which many containers set) it gives a text to one write(2), and
    drops what that did not take, as when the program is stopped (Ctrl-Z) while whoever reads is slower."""
    raw: object = getattr(sys.stdout, "buffer", None)
    if isinstance(raw, io.RawIOBase):
        given = {"encoding": sys.stdout.encoding, "errors": sys.stdout.errors, "line_buffering": sys.stdout.isatty()}
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), **given)  # type: ignore[arg-type]


app = typer.Typer(
    cls=_Lazy,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings=HELP_NAMES,
)


@app.callback()
def anetcon(
    ctx: typer.Context,
    version: VersionOption = False,  # noqa: ARG001 - typer sees to it
) -> None:
    """Audit the connections of Linux routers: who was behind a public address, at any time."""
    if ctx.invoked_subcommand in READING:
        os.umask(0o077)


def main() -> NoReturn:
    """Entry point of the program `anetcon`.

    Importing makes some hundred thousand objects, all of which stay: collecting garbage among them and taking them
    apart at the end would be a quarter of the time that a small question takes.
    """
    gc.set_threshold(200_000, 20, 50)
    _open_streams()
    _print_whole()
    status = 0
    try:
        app(prog_name="anetcon")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - Python's own status for it is 1: "nothing found and the record is complete"
        traceback.print_exc()
        status = DEFECT
    sys.stdout.flush()
    sys.stderr.flush()
    atexit._run_exitfuncs()
    os._exit(status)


if __name__ == "__main__":
    main()
