"""The TOML made of an old file means the same as the old file."""

from __future__ import annotations

import shlex
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anetcon.config.load import load
from anetcon.config.old.migrate import toml
from tests.support.old_configuration import EVERYTHING, README

TEXT = st.text(alphabet=st.sampled_from("abcXYZ019-_.é\"'\\$ #="), min_size=1, max_size=8)
NETWORK = st.sampled_from(["10.0.0.0/8", "192.0.2.1", "198.51.100.7/24", "2001:db8::/48"])


@st.composite
def old_files(draw: st.DrawFn) -> str:
    """Old files that can be used, with any of their keys."""
    lines = []
    names = draw(st.lists(TEXT, min_size=1, max_size=3))
    patterns = [shlex.quote(f"^{name[0]}") for name in names if name[0] not in "\\ "]
    lines.append(f"NAMESPACES=( {' '.join(patterns)} a )")
    if draw(st.booleans()):
        pairs = [(name, " ".join(draw(st.lists(NETWORK, min_size=1, max_size=3)))) for name in names]
        lines.append(f"NETS=({' '.join(shlex.quote(each) for pair in pairs for each in pair)})")
    for key, value in (
        ("PERIOD", st.sampled_from(["1", "30", "0.5"])),
        ("DEBUG", st.sampled_from(["", "true"])),
        ("CHAIN_NAME", st.sampled_from(["audit", "anetcon"])),
        ("LOG_PREFIX", st.sampled_from(["[A]", "'[AUDIT] '"])),
        ("LOG_NAMESPACE_HASH", st.sampled_from(["true", "false"])),
        ("NAMESPACE_HASH_FILE", st.sampled_from(["", "/x/y"])),
        ("LOGFILE", TEXT.map(lambda text: shlex.quote(f"/{text}"))),
    ):
        if draw(st.booleans()):
            lines.append(f"{key}={draw(value)}")
    return "\n".join(draw(st.permutations(lines))) + "\n"


def both(folder: Path, text: str) -> str:
    """Migrate; the TOML, after a check that both mean the same."""
    old, new = folder / "anetcon.conf", folder / "anetcon.toml"
    old.write_text(text)
    loaded = load(old, environment={})
    new.write_text(toml(loaded))
    assert load(new, environment={}).config == loaded.config
    return new.read_text()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(old_files())
def test_the_same(tmp_path: Path, text: str) -> None:
    """Whatever an old file sets, its TOML loads to the same configuration."""
    both(tmp_path, text)


def test_with_comments(tmp_path: Path) -> None:
    """Every setting has its comment, and the engine the advice to change it."""
    made = both(tmp_path, EVERYTHING)
    assert 'Recommended: "conntrack"' in made
    assert 'engine = "iptables-log"' in made
    lines = made.splitlines()
    for number, line in enumerate(lines):
        if " = " in line and not line.startswith(("#", '"')):
            assert lines[number - 1].startswith("# "), line
    assert all(len(line) <= 100 for line in lines if line.startswith("#") and not line.startswith("# Made from"))


def test_only_what_matters(tmp_path: Path) -> None:
    """The example of the readme becomes a handful of settings, without what is by default anyway."""
    made = both(tmp_path, README)
    assert [line.split(" = ")[0] for line in made.splitlines() if " = " in line and line[0] != "#"] == [
        *("namespaces", "protocols", "engine", "period", "file"),
    ]
