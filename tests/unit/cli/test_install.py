"""Which root is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.cli.install import normal
from tests.support.asking import Answer


@pytest.mark.parametrize("name", ["/", "//", "/.", "/etc/..", "/proc/self/root"])
def test_this_host_has_one_root(name: str, tmp_path: Path) -> None:
    """However it is spelled: else it would be taken for the tree of an image, and no bash ANetCon looked for."""
    assert str(normal(Path(name))) == "/"
    (tmp_path / "link").symlink_to("/")
    assert str(normal(tmp_path / "link")) == "/"
    assert normal(tmp_path) == tmp_path


def test_a_root_that_is_none(tmp_path: Path) -> None:
    """One sentence, for both commands."""
    for command in ("install", "uninstall"):
        answer = Answer(command, "--root", tmp_path / "no such tree", "--dry-run")
        assert (answer.status, "is no directory: make it" in answer.err) == (5, True)


def test_a_root_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not the folder one is in, which may be this host's root: `--root "$IMAGE"` with no IMAGE."""
    monkeypatch.chdir(tmp_path)
    for command in ("install", "uninstall"):
        answer = Answer(command, "--root", "", "--dry-run")
        assert (answer.status, answer.out, "name a folder" in answer.err) == (2, "", True)
    assert Answer("install", "--root", ".", "--dry-run").status == 0


def test_an_installation_that_failed_at_once(tmp_path: Path) -> None:
    """Is taken away, too: of it only the list of what may be there of ours is left."""
    (tmp_path / "etc").touch()
    assert Answer("install", "--root", tmp_path).status == 4
    assert (tmp_path / "usr/local/share/anetcon/installed.json").exists()
    assert Answer("uninstall", "--root", tmp_path).status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["etc"]
    assert Answer("uninstall", "--root", tmp_path).out == "nothing to do: nothing is installed\n"
