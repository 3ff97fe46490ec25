"""The rooms for the bash ANetCon have one door: without them the rest goes on as before."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon import bash

ROOT = Path(__file__).parents[2]
ROOMS = ("legacy", "config.old", "history")
ALL_THERE = all(map(bash.has, ROOMS))


def folder(room: str) -> str:
    """The room's folder below src/anetcon, and below tests/unit."""
    return room.replace(".", "/")


def imports(tree: ast.AST) -> Iterator[tuple[str, ast.ImportFrom | ast.Import]]:
    """Every module that is imported somewhere in a tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)


def test_nothing_imports_a_room_but_commands_behind_the_door() -> None:
    """A command imports a room inside `if bash.has("ROOM"):`; all other modules import none."""
    source = ROOT / "src/anetcon"
    for path in source.rglob("*.py"):
        within, tree = path.relative_to(source), ast.parse(path.read_text())
        for room in ROOMS:
            if not within.is_relative_to(folder(room)):
                doors = [node for node in tree.body if isinstance(node, ast.If) and within.parts[0] == "cli"]
                behind = [door for door in doors if ast.unparse(door.test) == f"bash.has('{room}')"]
                allowed = {id(node) for door in behind for _, node in imports(door)}
                named = [node for name, node in imports(tree) if f"{name}.".startswith(f"anetcon.{room}.")]
                assert {id(node) for node in named} <= allowed, f"{within} imports {room}"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository without the rooms and their tests; those in other folders are marked (tests/support/rooms.py)."""
    made = tmp_path_factory.mktemp("without")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in map(os.fsdecode, filter(None, names)):
        if (ROOT / name).is_file():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, made / name)
    for room in ROOMS:
        shutil.rmtree(made / "src/anetcon" / folder(room))
        shutil.rmtree(made / "tests/unit" / folder(room))
    return made


def run(copy: Path, *words: str) -> str:
    """What Python prints in the copy."""
    environment = os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(
        [sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


IMPORT_ALL = """
import importlib, pkgutil, anetcon
assert anetcon.__file__.startswith(%r)
for module in pkgutil.walk_packages(anetcon.__path__, "anetcon."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""

HELP = """
import sys
from typer.testing import CliRunner
from anetcon.cli.main import app
for name in sys.argv[1:]:
    print(name, CliRunner().invoke(app, [name, "--help"]).stdout.split()[0])
"""


@pytest.mark.skipif(not ALL_THERE, reason="a room was deleted already")
def test_every_module_and_the_command_line_do_without_them(copy: Path) -> None:
    """Everything can be imported; commands start, but for `import`; a configuration in TOML can be used."""
    run(copy, "-c", IMPORT_ALL % str(copy))
    command = ("-m", "anetcon.cli.main")
    listed = run(copy, *command, "--help")
    assert "uninstall" in listed
    assert "  import " not in listed
    names = ("who", "doctor", "install", "uninstall", "config")
    assert run(copy, "-c", HELP, *names).splitlines() == [f"{name} Usage:" for name in names]
    (copy / "a.toml").write_text('[audit]\nengine = "nftables-log"\n')
    assert "can be used" in run(copy, *command, "config", "check", "-c", "a.toml")


@pytest.mark.slow
@pytest.mark.skipif(not ALL_THERE, reason="a room was deleted already")
@pytest.mark.timeout(1800)
def test_all_other_unit_tests_pass_without_them(copy: Path) -> None:
    """The unit tests of everything else."""
    done = run(copy, "-m", "pytest", "-q", "-n", "2", "-m", "not slow", "-p", "no:cacheprovider", "tests/unit")
    assert " passed" in done
