"""Any sequence of installing, editing, upgrading and uninstalling."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from anetcon.install import apply, undo
from anetcon.install.apply import Step, Verb
from anetcon.install.installed import Manifest
from anetcon.install.item import Item, ItemKind
from anetcon.install.places import HOST
from anetcon.install.tree import Tree
from tests.support.examples import examples

PATHS = ("/etc/a/one.toml", "/etc/b/two")
CONTENTS = (b"shipped 1\n", b"shipped 2\n", b"shipped 3\n")
EDITS = (b"mine\n", b"mine, too\n")
ASIDES = (".new", ".dpkg-dist")


def plan(version: int, paths: tuple[str, ...] = PATHS) -> list[Item]:
    """What is installed: two files of configuration, one of the program, a folder, a link."""
    files = [
        Item(ItemKind.CONFIGURATION, path, CONTENTS[version], aside=aside)
        for path, aside in zip(PATHS, ASIDES, strict=True)
        if path in paths
    ]
    return [
        Item(ItemKind.DIRECTORY, "/etc/a", mode=0o750),
        *files,
        Item(ItemKind.PROGRAM, "/usr/share/doc", CONTENTS[version]),
        Item(ItemKind.LINK, "/usr/bin/it", f"/opt/{version}".encode(), 0o777),
    ]


def install(root: Path, items: list[Item], fail_after: int | None = None) -> list[Step]:
    """As the command does it, or only the first so many steps."""
    tree = Tree(root)
    manifest = Manifest(tree, HOST)
    steps = apply.steps(tree, items, manifest)
    manifest.expect(items)
    for step in steps[:fail_after]:
        apply.carry_out(tree, step)
    if fail_after is None:
        manifest.settle(items)
    return steps


def uninstall(root: Path, items: list[Item], purge: bool) -> None:
    """As the command does it."""
    tree = Tree(root)
    manifest = Manifest(tree, HOST)
    steps = undo.steps(tree, items, manifest, purge)
    folders = undo.folders(tree, items, manifest)
    for step in steps:
        apply.carry_out(tree, step)
    manifest.forget({step.path for step in steps if not step.changes})
    for folder in folders:
        tree.remove_empty(folder)


def content(root: Path) -> dict[str, bytes]:
    """Every file and folder."""
    every = sorted(root.rglob("*"))
    return {
        str(p): os.fsencode(p.readlink()) if p.is_symlink() else p.read_bytes() if p.is_file() else b"" for p in every
    }


OPERATIONS = st.one_of(
    st.tuples(st.just("install"), st.integers(0, 2), st.sampled_from([PATHS, PATHS[:1]])),
    st.tuples(st.just("interrupted"), st.integers(0, 2), st.integers(0, 6)),
    st.tuples(st.just("edit"), st.sampled_from([*PATHS, *(f"{p}{a}" for p, a in zip(PATHS, ASIDES, strict=True))]),
              st.sampled_from([*EDITS, *CONTENTS])),
    st.tuples(st.just("delete"), st.sampled_from(PATHS), st.none()),
    st.tuples(st.just("uninstall"), st.integers(0, 2), st.none()),
    st.tuples(st.just("lose the manifest"), st.none(), st.none()),
)  # fmt: skip


def run(root: Path, operation: tuple[str, object, object], mine: dict[str, bytes]) -> None:
    """One of OPERATIONS. `mine` is what the operator wrote last, by path."""
    match operation:
        case ("install", int(version), tuple(paths)):
            items = plan(version, paths)
            install(root, items)
            again = apply.steps(Tree(root), items, Manifest(Tree(root), HOST))
            assert [step for step in again if step.changes] == [], "the second time there is nothing to do"
        case ("interrupted", int(version), int(steps)):
            install(root, plan(version), steps)
        case ("edit", str(path), bytes(text)):
            (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / path[1:]).write_bytes(text)
            mine[path] = text
        case ("delete", str(path), None):
            (root / path[1:]).unlink(missing_ok=True)
            mine.pop(path, None)
        case ("uninstall", int(version), None):
            uninstall(root, plan(version), purge=False)
        case _:
            (root / "usr/local/share/anetcon/installed.json").unlink(missing_ok=True)


@examples(0.8)
@given(st.lists(OPERATIONS, max_size=12))
def test_no_edited_byte_is_ever_lost(operations: list[tuple[str, object, object]]) -> None:
    """Whatever happens in whatever order: what an operator wrote, and we never shipped, is where it was written."""
    with tempfile.TemporaryDirectory() as folder:
        mine: dict[str, bytes] = {}
        for operation in operations:
            run(Path(folder), operation, mine)
            for path, text in mine.items():
                assert text in CONTENTS or Path(folder, path[1:]).read_bytes() == text, operation


@examples(0.15)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=4), st.integers(0, 6))
def test_unedited_files_follow_every_version_and_go_without_a_trace(versions: list[int], cut: int) -> None:
    """Upgrades bring unedited files up to date, also over an interrupted one; then everything is taken away."""
    with tempfile.TemporaryDirectory() as folder:
        for version in versions:
            install(Path(folder), plan(version), cut)
            install(Path(folder), plan(version))
            assert all(Path(folder, path[1:]).read_bytes() == CONTENTS[version] for path in PATHS)
        uninstall(Path(folder), plan(versions[-1]), purge=False)
        assert content(Path(folder)) == {}


def test_edited_and_new_stand_side_by_side(tmp_path: Path) -> None:
    """The new one is written beside, brought up to date with each version, and goes when it is no longer needed."""
    install(tmp_path, plan(0))
    file, beside = tmp_path / "etc/b/two", tmp_path / "etc/b/two.dpkg-dist"
    file.write_bytes(EDITS[0])
    steps = install(tmp_path, plan(1))
    assert [(step.verb, step.path) for step in steps if step.path.startswith("/etc/b")] == [
        (Verb.ASIDE, "/etc/b/two.dpkg-dist")
    ]
    assert "was edited" in str(next(step for step in steps if step.verb is Verb.ASIDE))
    assert (file.read_bytes(), beside.read_bytes()) == (EDITS[0], CONTENTS[1])
    install(tmp_path, plan(2))
    assert beside.read_bytes() == CONTENTS[2]
    file.write_bytes(CONTENTS[2])
    install(tmp_path, plan(2))
    assert not beside.exists()
    install(tmp_path, plan(0))
    assert file.read_bytes() == CONTENTS[0], "what the operator took over from us is ours again"


def test_what_is_said_before_is_what_is_done_after(tmp_path: Path) -> None:
    """Finding the steps changes nothing; they name exactly the paths that then differ."""
    install(tmp_path, plan(0))
    (tmp_path / "etc/a/one.toml").write_bytes(EDITS[0])
    (tmp_path / "etc/b/two").unlink()
    before = content(tmp_path)
    tree = Tree(tmp_path)
    said = {step.path for step in apply.steps(tree, plan(1), Manifest(tree, HOST)) if step.changes}
    assert content(tmp_path) == before
    install(tmp_path, plan(1))
    after = content(tmp_path)
    changed = {
        path.removeprefix(str(tmp_path)) for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    }
    assert changed - {"/usr/local/share/anetcon/installed.json"} == said


def test_a_part_of_the_program_is_always_replaced(tmp_path: Path) -> None:
    """What is no configuration is brought up to date whatever is there, and its mode is put right."""
    install(tmp_path, plan(0))
    page = tmp_path / "usr/share/doc"
    page.write_bytes(EDITS[0])
    install(tmp_path, plan(0))
    assert page.read_bytes() == CONTENTS[0]
    page.chmod(0o600)
    assert [step.verb for step in install(tmp_path, plan(0))] == [Verb.ADJUST]


def test_what_is_no_longer_part_of_it_goes_unless_edited(tmp_path: Path) -> None:
    """A file that an earlier plan had is removed; an edited one is kept, and that is said."""
    for edit, verb in ((None, Verb.REMOVE), (EDITS[0], Verb.KEEP)):
        install(tmp_path, plan(0))
        if edit is not None:
            (tmp_path / "etc/b/two").write_bytes(edit)
        steps = install(tmp_path, plan(0, PATHS[:1]))
        assert [(step.verb, step.path) for step in steps] == [(verb, "/etc/b/two")]
