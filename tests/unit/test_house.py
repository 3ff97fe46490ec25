"""The rules of the house that a machine can check: layers, sizes, docstrings, the shape of the tests."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import anetcon
from anetcon import bash
from anetcon.errors import AnetconError, every_error
from anetcon.gaps import Cause
from tests.support.records import Making, whole

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "anetcon"

LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "gaps": set(),
    "protocols": set(),
    "record": set(),
    "bash": set(),
    "system": set(),
    "netlink": {"system"},
    "rules": {"system", "netlink"},
    "link": {"errors", "gaps", "system", "rules"},
    "config": {"errors", "protocols", "bash", "link"},
    "decode": {"protocols", "record", "netlink"},
    "classify": {"record", "decode"},
    "formats": {"errors", "record"},
    "journal": {"errors", "system", "record", "formats"},
    "identity": {"gaps", "system", "protocols", "record"},
    "store": {"errors", "gaps", "system", "protocols", "record", "formats", "journal", "identity"},
    "query": {"errors", "gaps", "system", "protocols", "record", "store"},
    "proof": {"errors", "system", "record", "store"},
    "kmsg": {"system"},
    "keeper": {"errors", "gaps", "system", "netlink", "rules", "link"},
    "capture": {
        "gaps",
        "errors",
        "system",
        "netlink",
        "link",
        "kmsg",
        "protocols",
        "record",
        "decode",
        "classify",
        "journal",
    },
    "follow": {"errors", "system", "link", "protocols", "record", "journal", "identity", "store", "query"},
    "history": {"errors", "gaps", "system", "link", "protocols", "record", "decode", "identity", "store", "follow"},
    "doctor": {"errors", "system", "netlink", "rules", "link", "journal", "store", "decode"},
    "install": {"errors", "system", "netlink", "rules", "link", "config", "store", "follow", "doctor"},
    "legacy": {"errors", "system", "netlink", "rules", "link", "config", "store", "follow", "doctor", "install"},
    "testbed": {"errors"},
    "cli": {
        "bash",
        "errors",
        "gaps",
        "system",
        "protocols",
        "record",
        "link",
        "config",
        "decode",
        "journal",
        "store",
        "query",
        "proof",
        "keeper",
        "follow",
        "history",
        "doctor",
        "install",
        "legacy",
        "testbed",
    },
}
"""Which part may import which: only from above itself. Every part may import itself and the package's version."""

LARGEST_FILE = 600
LARGEST_FUNCTION = 60
TEST_FILE = re.compile(r"(?:`|pytest )([\w/]*test_\w+\.py)")


def python_files(*folders: str) -> list[Path]:
    """Every Python file of these folders, relative to the root."""
    return sorted(p.relative_to(ROOT) for folder in folders for p in (ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse((ROOT / path).read_text())


def part(module: str) -> str:
    """The part of the program a module is in: `anetcon.journal.read` is in `journal`; the package itself is ``."""
    return [*module.split("."), ""][1]


def imported(path: Path) -> Iterator[str]:
    """Every anetcon module a file imports, anywhere in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "anetcon")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file."""
    yield from (n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def test_layers_go_one_way() -> None:
    """The table of layers itself has no circle: each part names only parts before it."""
    seen: set[str] = set()
    for name, below in LAYERS.items():
        assert below <= seen, name
        seen.add(name)


def test_imports_follow_the_layers() -> None:
    """A module imports only from parts that its own part stands on; the package itself from none."""
    for path in python_files("src"):
        own = path.with_suffix("").parts[2]
        assert own in {"__init__", *LAYERS}, f"give {own} its place in LAYERS"
        may = LAYERS[own] | {own, "__version__"} if own in LAYERS else set()
        for name in imported(path):
            assert part(name) in may, f"{path} imports {name}"


def test_the_map_of_the_package_is_true() -> None:
    """The package's docstring names every part, in the order of LAYERS, and no other."""
    named = re.findall(r"^    ([a-z][\w/, ]*?)/?  +", anetcon.__doc__ or "", re.MULTILINE)
    assert [name for line in named for name in line.split(", ")] == list(LAYERS)


MAPPED = [
    *("system", "netlink", "link", "query", "proof", "legacy", "keeper", "rules", "follow"),
    *("capture", "capture/engine"),
]


@pytest.mark.parametrize("room", [room for room in MAPPED if room != "legacy" or bash.has(room)])
def test_the_map_of_a_room_is_true(room: str) -> None:
    """The docstring of a room names every module in it, and no other."""
    named = re.findall(
        r"^(\w+)/?  +", ast.get_docstring(tree(Path("src/anetcon", room, "__init__.py"))) or "", re.MULTILINE
    )
    there = [m.name for m in pkgutil.iter_modules([str(SOURCE / room)])]
    assert sorted(named) == sorted(there)


def test_keeper_imports_only_the_standard_library() -> None:
    """A fresh interpreter that imports every module of the keeper has loaded nothing else of ours but what it may."""
    modules = [f"anetcon.keeper.{m.name}" for m in pkgutil.iter_modules([str(SOURCE / "keeper")])]
    script = (
        "import json, sys; before = set(sys.modules)\n"
        "import anetcon.keeper\n"
        + "".join(f"import {name}\n" for name in modules)
        + "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = json.loads(done.stdout)
    ours = [name for name in loaded if part(name) not in {"", "keeper", *LAYERS["keeper"]}]
    strangers = [name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names | {"anetcon"}]
    assert "anetcon.keeper" in loaded
    assert [name for name in ours if name.split(".")[0] == "anetcon"] == []
    assert strangers == []


ASKED = """
import importlib, sys
from pathlib import Path
sys.modules |= dict.fromkeys(["typer", "click", "rich"])  # importing one of them fails
for name in sys.argv[2:]:
    importlib.import_module(name)
from anetcon.query.filters import Filters, moment
from anetcon.query.who import Asked, Endpoint, ask
from anetcon.store.reader import Store
from anetcon.store.sql import network
store, (address, _, family) = Store(Path(sys.argv[1])), network("203.0.113.7")
found = ask(store, Asked(Endpoint(address, None, family), moment("at", "2026-11-20T13:05:09Z", "UTC"), 60_000_000))
filters = Filters(src=["10.0.0.0/8"])
rows = store.connections(filters.condition(), result=filters.result()).read_all()
print(found.verdict, len(rows))
"""


def test_query_knows_no_terminal(tmp_path: Path) -> None:
    """Where typer and rich are not installed, every module of query is imported, and questions are answered."""
    store = Making(tmp_path).add(*whole()).close()
    modules = [f"anetcon.query.{m.name}" for m in pkgutil.iter_modules([str(SOURCE / "query")])]
    done = subprocess.run([sys.executable, "-c", ASKED, store, *modules], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("one 1\n", "")


def test_unit_tests_mirror_the_source() -> None:
    """Every unit test file is named after the module it tests, in the same folder."""
    unit = Path("tests/unit")
    for path in python_files("tests/unit"):
        if path.name.startswith("test_") and path.name not in ("test_house.py", "test_prose.py", "test_shapes.py"):
            tested = path.relative_to(unit).parent / path.name.removeprefix("test_")
            there = any((place / tested).exists() for place in (SOURCE, ROOT / "tests", ROOT))
            assert there, f"{path} tests {tested}, which is not there"


def test_tests_that_the_docs_name_are_there() -> None:
    """A claim that names the test that proves it names one: by its path, or below tests/e2e."""
    named = [
        (page, name)
        for page in sorted(Path(ROOT, "docs").rglob("*.md"))
        for name in TEST_FILE.findall(page.read_text())
    ]
    assert len(named) > 10
    for page, name in named:
        places = [ROOT / name, ROOT / "tests" / name, ROOT / "tests/e2e" / name]
        assert any(place.exists() for place in places), f"{page.name} names {name}"


def test_no_test_module_imports_another() -> None:
    """What tests share is in tests/support, or in a conftest."""
    of_tests = re.compile(
        r"^\s*from tests(?!\.support)[\w.]*\.test_\w+ import|^from tests[\w.]* import test_", re.MULTILINE
    )
    assert [path for path in python_files("tests") if of_tests.search((ROOT / path).read_text())] == []


def test_test_folders_are_packages() -> None:
    """Files of one name can live in two folders of tests, because each folder is a package."""
    for path in python_files("tests"):
        assert (ROOT / path.parent / "__init__.py").exists(), path.parent


PRINTERS = ("people", "output", "config_cmd", "main", "run")
"""Of the command line: what escapes; what prints records, and whole files of ours; what has to do with the streams."""


def test_lines_for_people_leave_at_one_place() -> None:
    """A command prints by `say` and `warn`, which let no text of others harm a terminal, or as JSON."""
    printing = {"print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"}
    for path in python_files("src/anetcon/cli"):
        if path.stem not in PRINTERS:
            called = {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}
            assert not called & printing, path


def test_no_test_sleeps() -> None:
    """Tests poll with a deadline (tests/support/waiting.py); none sleeps for a fixed time."""
    for path in python_files("tests"):
        for node in ast.walk(tree(path)):
            called = isinstance(node, ast.Attribute) and node.attr == "sleep"
            fetched = isinstance(node, ast.ImportFrom) and "sleep" in {alias.name for alias in node.names}
            assert not called, f"{path} sleeps"
            assert not fetched, f"{path} sleeps"


def test_files_are_small_and_say_what_they_are_for() -> None:
    """Every module opens with a docstring, and no file or function is longer than the house allows."""
    for path in python_files("src", "tests", "bench", "tools"):
        text = (ROOT / path).read_text()
        assert ast.get_docstring(tree(path)) or not text, f"{path} has no docstring"
        assert len(text.splitlines()) <= LARGEST_FILE, f"{path} is too long"
        for function in functions(path):
            assert function.end_lineno is not None
            assert function.end_lineno - function.lineno < LARGEST_FUNCTION, f"{path}: {function.name} is too long"


def test_tests_say_what_holds() -> None:
    """Every test has a docstring: one sentence saying what holds."""
    for path in python_files("tests"):
        for function in functions(path) if path.name.startswith("test_") else ():
            if function.name.startswith("test_"):
                assert ast.get_docstring(function), f"{path}: {function.name} has no docstring"


def test_every_error_has_its_own_exit_status() -> None:
    """No two error classes end the program alike, and none with a status that is an answer or wrong usage."""
    for module in pkgutil.walk_packages([str(SOURCE)], "anetcon."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    todo: list[type[AnetconError]] = [AnetconError]
    found: set[type[AnetconError]] = set()
    while todo:
        found.add(todo[-1])
        todo.extend(todo.pop().__subclasses__())
    statuses = [error.exit_status for error in found]
    assert sorted(statuses) == sorted(set(statuses))
    assert min(statuses) >= 4
    assert set(every_error()) == found, "errors.every_error() misses one"


NOT_CAUSES = {
    "undecodable": (
        "a counter",
        {"link/counters.py", "capture/pipeline.py", "cli/status.py", "doctor/daemon_health.py", "proof/signing.py"},
    ),
    "conntrack-inactive": ("a state of a namespace, in status.json", {"link/counters.py"}),
    "untracked": ("a message", {"link/messages.py"}),
    "retention": ("what a commit is for", {"store/entry.py"}),
}
"""Texts that are also the name of a cause, and mean something else in these files."""


def test_causes_are_spelled_in_their_table_alone() -> None:
    """A module names a cause of a gap as a member of `gaps.Cause`, so that mypy finds one that is misspelt."""
    for path in python_files("src"):
        name = str((ROOT / path).relative_to(SOURCE))
        spelled = {node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant)} & set(Cause)
        if name != "gaps.py":
            assert spelled == {text for text, (_, files) in NOT_CAUSES.items() if name in files}, path


STORE_FILES = re.compile(
    r"manifest\.\w+|status\.json|(?:sealing|importing)\.lock|followers|spill-.*|.*\bnode=.*|.*/date=.*|unreadable-.*"
)
"""Names in a store that mean nothing else; these two only in a path."""
IN_A_PATH = {"journal", "lock"}
OTHERS_FILES = {"keeper", "capture", "testbed"}
"""Rooms that name their own files of a store: they stand beneath it, and cannot import `store.layout`."""
PATTERNS = "install/records.py"
"""What is purged, as patterns: also what older versions left."""


def test_files_of_a_store_are_named_in_one_place() -> None:
    """The name of a file or folder of a store is in `store.layout` alone: so it can be changed there, and found."""
    for path in python_files("src"):
        name = str((ROOT / path).relative_to(SOURCE))
        if name in ("store/layout.py", PATTERNS) or Path(name).parts[0] in OTHERS_FILES:
            continue
        nodes = list(ast.walk(tree(path)))
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        joined = [n.right for n in nodes if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div)]
        found = [text for text in texts if STORE_FILES.fullmatch(text)]
        found += [n.value for n in joined if isinstance(n, ast.Constant) and n.value in IN_A_PATH]
        assert found == [], path


def test_the_version_is_said_once() -> None:
    """The package's own version is the one of its metadata, and is said nowhere else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "anetcon.__version__"}


@pytest.mark.parametrize(
    ("pins", "lock"),
    [("constraints.txt", "requirements.lock"), ("constraints-dev.txt", "requirements-dev.lock")],
)
def test_the_lock_has_what_is_pinned(pins: str, lock: str) -> None:
    """Every library that is pinned, in that version, with the digest of a wheel at least: tools/lock.py was run."""
    pinned = set(re.findall(r"^[\w.-]+==\S+", (ROOT / "packaging" / pins).read_text(), re.MULTILINE))
    text = (ROOT / "packaging" / lock).read_text()
    locked = dict(re.findall(r"^([\w.-]+==\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", text, re.MULTILINE))
    assert set(locked) == pinned
    assert all(locked.values())
