"""Programs: what they say comes back, what they lack is one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.rules import programs
from anetcon.rules.programs import MissingError, RulesError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder programs are looked for in."""
    monkeypatch.setattr(programs, "FOLDERS", (str(tmp_path),))
    for cached in (programs.find, programs.xtables):
        cached.cache_clear()
    yield tmp_path
    for cached in (programs.find, programs.xtables):
        cached.cache_clear()


def program(path: Path, script: str) -> None:
    """A program that is a shell script."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("folder")
def test_what_is_missing_is_named_with_its_package() -> None:
    """One sentence for each program."""
    with pytest.raises(MissingError, match="nft is not there: install the package nftables"):
        programs.nft("list", "tables")
    with pytest.raises(MissingError, match="ip6tables-nft-save is not there: install the package iptables"):
        programs.save(6, "nft")


def test_a_program_without_a_variant_in_its_name_is_asked_which_it_is(folder: Path) -> None:
    """`iptables-save` serves for nft when it says nf_tables, and for legacy when it does not."""
    program(folder / "iptables-save", 'echo "iptables-save v1.8.9 (nf_tables)"')
    assert programs.xtables(4, "nft", "save") == str(folder / "iptables-save")
    with pytest.raises(MissingError):
        programs.xtables(4, "legacy", "save")


def test_text_goes_in_and_out_whole(folder: Path) -> None:
    """More than a pipe would hold."""
    program(folder / "nft", "exec cat")
    text = "rule\n" * 100_000
    assert programs.nft(text=text) == text


def test_a_failure_says_what_the_program_said(folder: Path) -> None:
    """Status and message, on one line, without iptables' warnings."""
    program(folder / "iptables-nft-restore", 'echo "# Warning" >&2; echo "line 2" >&2; echo "failed" >&2; exit 4')
    with pytest.raises(RulesError) as caught:
        programs.restore(4, "nft", "*nat\nCOMMIT\n")
    assert str(caught.value) == "`iptables-nft-restore` ended with status 4: line 2 failed"
