"""The command line as data."""

from __future__ import annotations

from anetcon.cli.main import COMMANDS
from tools.described import described


def test_every_command_with_its_options() -> None:
    """Groups have their commands, choices their values, flags take nothing."""
    program = described()
    by_name = {each.name: each for each in program.commands}
    assert list(by_name) == [f"anetcon {name}" for name in COMMANDS]
    assert {each.first_line for each in program.commands} == {line for _, line in COMMANDS.values()}
    who = by_name["anetcon who"]
    assert [each.value for each in who.arguments] == ["IP[:PORT]"]
    options = {name: each for each in who.options for name in each.names}
    assert options["--format"].choices == ("table", "json", "jsonl", "csv")
    assert (options["--within"].default, options["--at"].required) == ("60s", True)
    flags = [each for each in by_name["anetcon install"].options if not each.value]
    assert "--dry-run" in {name for each in flags for name in each.names}
    assert by_name["anetcon config"].commands[0].name == "anetcon config show"
