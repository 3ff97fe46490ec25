"""The rules of the house for names and classes: what is called the same is the same, and no class is a house."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "anetcon"

METHODS, ATTRIBUTES, LINES = 20, 14, 250
"""A class has at most so many."""
PARAMETERS, CALLABLES = 5, 2
"""A constructor has at most so many, and so many of them are functions. A dataclass may have more: it is data."""

LARGE = {
    "capture/addresses.py:Context": "what a namespace has around it: three kinds of interval by the same rules",
    "link/settings.py:Settings": "data: what the keeper uses of the configuration",
    "testbed/topology.py:Router": "the whole router of the demo, with its options",
}
"""Classes that are larger, and why."""

SAME_NAME = {"__init__", "main", "settings"}
"""Modules that every room may have."""
SHARED = {
    "loop": "capture has one and the keeper has one: two processes",
    "namespace": "the same namespace in two processes",
    "reader": "follow reads the journal, questions the store",
    "writer": "capture writes the journal, the sealer the store",
}
"""Other names of modules that stand twice, and why."""

SAME_CLASS = {
    "Loop": "capture has one and the keeper has one: two processes",
    "Namespace": "the same namespace in two processes",
    "Settings": "what a room uses of the configuration: each takes what it needs",
}
"""Names of classes that stand twice, and why."""

FOREIGN = {
    "capture/engine/ct_events.py": "fields of the memory that keeper and capture share: whoever counts writes",
    "capture/kernel_lines.py": "fields of the memory that keeper and capture share: whoever counts writes",
    "capture/loop.py": "fields of the memory that keeper and capture share: whoever counts writes",
    "capture/pipeline.py": "how many rows of columns are filled: whoever fills them knows",
    "capture/recording.py": "a knot: the journal tells what lasts beside it",
    "capture/recvmmsg.py": "an object of a library",
    "capture/requests.py": "an exchange is told why it ended",
    "capture/sampled_packets.py": "how many rows of columns are filled: whoever fills them knows",
    "capture/surroundings.py": "an exchange is told why it ended",
    "capture/table_dumps.py": "how many rows of columns are filled: whoever fills them knows",
    "capture/writer.py": "what waits is packed when it has to wait for long",
    "cli/follow.py": "the keys behind the rows",
    "cli/install.py": "the manifest of what is installed is filled as it is installed",
    "cli/main.py": "an object of a library",
    "cli/options.py": "an object of a library",
    "cli/output.py": "an object of a library",
    "cli/search.py": "the keys behind the rows",
    "cli/who.py": "the keys behind the rows",
    "decode/ctnetlink.py": "how many rows of columns are filled: whoever fills them knows",
    "decode/logline.py": "how many rows of columns are filled: whoever fills them knows",
    "follow/reader.py": "its own saved position",
    "gaps.py": "an object of a library",
    "history/events.py": "frozen",
    "history/importing.py": "frozen",
    "journal/read.py": "an object of a library",
    "keeper/shared.py": "fields of the memory that keeper and capture share: whoever counts writes",
    "link/counters.py": "a descriptor",
    "netlink/dump.py": "a counter of the class",
    "rules/iptables.py": "the outcome is filled step by step",
    "rules/nftables.py": "the outcome is filled step by step",
    "store/manifest.py": "the state that a line of kind state stands for",
    "store/seal.py": "the state that is sealed",
    "store/snapshot.py": "whether its segments keep their rows",
}
"""Modules that assign attributes of objects of others, and why."""

WITHOUT_UNIT_TEST = {
    "capture/ageless.py": "unit/capture/test_pipeline.py",
    "capture/backlog.py": "unit/capture/test_writer.py",
    "capture/codes.py": "unit/capture/test_pipeline.py",
    "capture/engine/base.py": "e2e/test_engines.py",
    "capture/engine/log_lines.py": "unit/capture/test_kernel_lines.py",
    "capture/engine/make.py": "e2e/test_engines.py",
    "capture/hidden.py": "e2e/faults/test_tampered.py",
    "capture/keeper.py": "unit/capture/test_loop.py",
    "capture/losses.py": "unit/capture/test_listings.py",
    "capture/main.py": "e2e/test_namespaces.py",
    "capture/namespace.py": "unit/capture/test_loop.py",
    "capture/poll.py": "unit/capture/test_loop.py",
    "capture/recording.py": "unit/capture/test_loop.py",
    "capture/segments.py": "unit/capture/test_writer.py",
    "capture/surroundings.py": "netns/test_capture_routes.py",
    "capture/tracking.py": "unit/capture/engine/test_ct_events.py",
    "capture/trouble.py": "unit/capture/test_writer.py",
    "cli/answer.py": "unit/cli/test_who.py",
    "cli/keys.py": "e2e/test_sign.py",
    "cli/progress.py": "e2e/test_verify.py",
    "cli/sign.py": "e2e/test_sign.py",
    "cli/uninstall.py": "e2e/test_install.py",
    "cli/version.py": "unit/cli/test_main.py",
    "config/toml_text.py": "unit/config/test_sample.py",
    "decode/columns.py": "unit/decode/test_ctnetlink.py",
    "follow/log.py": "unit/follow/test_main.py",
    "follow/sinks/rows.py": "unit/follow/sinks/test_text.py",
    "history/import_report.py": "unit/history/test_importing.py",
    "history/line_batch.py": "unit/history/test_events.py",
    "history/stretches.py": "unit/history/test_importing.py",
    "identity/reconcile.py": "unit/identity/test_connections.py",
    "identity/verdicts.py": "unit/identity/test_tracker.py",
    "install/installed.py": "unit/install/test_apply.py",
    "install/item.py": "unit/install/test_plan.py",
    "install/places.py": "unit/install/test_plan.py",
    "install/restore.py": "netns/test_putback.py",
    "keeper/activate.py": "netns/test_keeper_activate.py",
    "keeper/audit.py": "netns/test_keeper.py",
    "keeper/capture_link.py": "netns/test_keeper.py",
    "keeper/daemon_log.py": "e2e/test_own_log.py",
    "keeper/host.py": "netns/test_keeper.py",
    "keeper/inside.py": "unit/keeper/test_watched.py",
    "keeper/log_engine/rules.py": "netns/test_keeper_rules.py",
    "keeper/log_engine/visits.py": "netns/test_keeper_rules.py",
    "keeper/roster.py": "netns/test_keeper_namespaces.py",
    "keeper/shown.py": "unit/keeper/test_status.py",
    "keeper/upgrade.py": "unit/keeper/test_handover.py",
    "legacy/old_chain.py": "netns/test_chain.py",
    "legacy/sorting.py": "e2e/test_takeover.py",
    "legacy/takeover.py": "e2e/test_takeover.py",
    "legacy/wait_ready.py": "e2e/test_takeover.py",
    "legacy/way_back.py": "e2e/test_takeover.py",
    "link/descriptors.py": "netns/test_keeper_namespaces.py",
    "link/engine_kinds.py": "e2e/test_engines.py",
    "link/log_switch.py": "unit/keeper/log_engine/test_nf_log.py",
    "netlink/ct_sysctls.py": "netns/test_keeper_watch.py",
    "netlink/framing.py": "unit/decode/test_oracle.py",
    "netlink/headers.py": "unit/decode/test_oracle.py",
    "proof/main.py": "e2e/test_sign.py",
    "proof/told.py": "unit/proof/test_signing.py",
    "query/macs.py": "unit/cli/test_who.py",
    "query/who.py": "unit/cli/test_who.py",
    "record.py": "unit/test_formats.py",
    "rules/invalid_sample.py": "unit/keeper/test_sampling.py",
    "rules/iptables.py": "netns/test_keeper_rules.py",
    "rules/nftables.py": "netns/test_keeper_rules.py",
    "rules/tables.py": "netns/test_putback.py",
    "rules/work.py": "netns/test_keeper_rules.py",
    "store/checked.py": "unit/store/test_verify.py",
    "store/frugal.py": "unit/cli/test_compact.py",
    "store/limits.py": "unit/store/test_retain.py",
    "store/lock.py": "unit/store/test_imports.py",
    "store/merged.py": "unit/store/test_compact.py",
    "store/owner.py": "e2e/test_import.py",
    "system/netns.py": "unit/keeper/test_jobs.py",
    "system/privileges.py": "e2e/test_privileges.py",
    "system/process.py": "unit/keeper/test_children.py",
    "system/readers.py": "unit/link/test_ledger.py",
    "system/syscalls.py": "unit/keeper/test_namespaces.py",
    "testbed/topology.py": "netns/test_testbed.py",
    "testbed/traffic.py": "netns/test_testbed.py",
}
"""Modules without a unit test of their own, and where below tests/ they are tested."""


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the program, by its path."""
    return {str(path.relative_to(SOURCE)): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def in_a_room(path: str) -> bool:
    """Whether the folder of a module is there: those of the bash ANetCon may have been deleted."""
    return (SOURCE / path).parent.is_dir()


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    """Every class, with the module it is in."""
    for name, tree in modules().items():
        yield from ((name, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def stored(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Every attribute that is assigned."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node


def of_self(node: ast.Attribute) -> bool:
    """Whether it is an attribute of the object whose method this is."""
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def sizes(node: ast.ClassDef) -> dict[str, int]:
    """What a class is measured by."""
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    attributes = {each.attr for method in methods for each in stored(method) if of_self(each)}
    made = next((method.args for method in methods if method.name == "__init__"), None)
    given = [*made.posonlyargs, *made.args, *made.kwonlyargs][1:] if made else []
    functions = [each for each in given if each.annotation is not None and "Callable" in ast.unparse(each.annotation)]
    return {
        "methods": len(methods),
        "attributes": len(attributes),
        "lines": (node.end_lineno or node.lineno) - node.lineno + 1,
        "parameters": len(given),
        "callables": len(functions),
    }


def test_no_class_is_too_large() -> None:
    """Methods, attributes, lines, and what a constructor takes; an exception that is none any more is removed."""
    most = dict(zip(("methods", "attributes", "lines"), (METHODS, ATTRIBUTES, LINES), strict=True))
    most |= {"parameters": PARAMETERS, "callables": CALLABLES}
    too = {
        f"{name}:{node.name}": {what: size for what, size in sizes(node).items() if size > most[what]}
        for name, node in classes()
    }
    assert {name: size for name, size in too.items() if size and name not in LARGE} == {}
    assert [name for name in LARGE if not too.get(name)] == []


def twice(names: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    """Names that stand more than once, and where."""
    places = defaultdict[str, list[str]](list)
    for name, place in names:
        places[name].append(place)
    return {name: where for name, where in places.items() if len(where) > 1}


def test_a_module_name_stands_once() -> None:
    """Or it is a command and its room; an exception that is none any more is removed."""
    found = twice((Path(path).stem, path) for path in modules())
    found = {name: [each for each in where if not each.startswith("cli/")] for name, where in found.items()}
    found = {name: where for name, where in found.items() if len(where) > 1 and name not in SAME_NAME}
    assert {name: where for name, where in found.items() if name not in SHARED} == {}
    assert [name for name in SHARED if name not in found] == []


def test_a_class_name_stands_once() -> None:
    """Private ones and those of the testbed aside; an exception that is none any more is removed."""
    named = ((node.name, path) for path, node in classes() if node.name[0] != "_" and not path.startswith("testbed/"))
    found = twice(named)
    assert {name: where for name, where in found.items() if name not in SAME_CLASS} == {}
    assert [name for name in SAME_CLASS if name not in found] == []


def own(tree: ast.Module) -> set[str]:
    """The attributes of the classes of a module."""
    names = {each.attr for each in stored(tree) if of_self(each)}
    for node in ast.walk(tree):
        for each in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                names.add(each.target.id)
            elif isinstance(each, ast.Assign) and any(ast.unparse(target) == "__slots__" for target in each.targets):
                names |= {str(part.value) for part in ast.walk(each.value) if isinstance(part, ast.Constant)}
    return names


def test_no_module_assigns_what_is_anothers() -> None:
    """An object's attributes are assigned in the module of its class; an exception that is none is removed."""
    found = {}
    for path, tree in modules().items():
        known = own(tree)
        foreign = sorted({ast.unparse(each) for each in stored(tree) if not of_self(each) and each.attr not in known})
        if foreign:
            found[path] = foreign
    assert {path: names for path, names in found.items() if path not in FOREIGN} == {}
    assert [path for path in FOREIGN if path not in found and in_a_room(path)] == []


def test_every_module_has_its_unit_test() -> None:
    """Or a line that says what tests it; a line that is not needed any more is removed."""
    unit = ROOT / "tests/unit"
    without = [
        path
        for path in modules()
        if Path(path).name != "__init__.py" and not (unit / Path(path).parent / f"test_{Path(path).name}").exists()
    ]
    assert [path for path in without if path not in WITHOUT_UNIT_TEST] == []
    named = {path: place for path, place in WITHOUT_UNIT_TEST.items() if in_a_room(path)}
    assert [path for path in named if path not in without] == []
    assert [place for place in named.values() if not (ROOT / "tests" / place).exists()] == []
