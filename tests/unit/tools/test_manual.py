"""The man pages."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from anetcon.cli.main import COMMANDS
from anetcon.config.load import SETTINGS
from anetcon.errors import statuses
from tools.described import described
from tools.manual import pages


def rendered(page: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A page as text without marks."""
    words = ["groff", "-ww", "-mandoc", "-Tascii", "-P-cbou", "-rLL=400n", *options]
    return subprocess.run(words, input=page, capture_output=True, text=True, check=True)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not here")
def test_groff_has_nothing_to_say_against_them() -> None:
    """Every page, with every warning on; all that is in them is ASCII."""
    made = pages(described())
    assert len(made) == len(COMMANDS) + 2
    assert all(page.isascii() for page in made.values())
    done = rendered("\n".join(made.values()), "-z")
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not here")
def test_they_say_what_the_program_says() -> None:
    """Every command with its options, every exit status, every setting; text comes out as it went in."""
    made = pages(described())
    program = rendered(made["anetcon", 1]).stdout
    for status, _ in statuses():
        assert re.search(rf"^ +{status} ", program, re.MULTILINE), status
    for command in described().commands:
        name = command.name.replace(" ", "-")
        section = next(number for page, number in made if page == name)
        assert f"{name}({section})" in program
        text = rendered(made[name, section]).stdout
        for leaf in command.commands or (command,):
            for option in leaf.options:
                assert all(word in text for word in option.names), (name, option)
    settings = rendered(made["anetcon.toml", 5]).stdout
    assert all(re.search(rf"^ +{key.rpartition('.')[2]}\b", settings, re.MULTILINE) for key in SETTINGS)
    assert '["^(qrouter|snat|fip)-"]' in settings
