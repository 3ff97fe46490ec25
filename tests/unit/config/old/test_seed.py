"""The old configuration file: every key, and what is said of a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.config.load import SETTINGS, Given, load
from anetcon.config.old import seed
from anetcon.errors import ConfigError
from tests.support.old_configuration import EVERYTHING, README


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    """The example means LOG rules for TCP in every router, as it always did."""
    path = tmp_path / "anetcon.conf"
    path.write_text(README)
    loaded = load(path, environment={})
    audit, logs = loaded.config.audit, loaded.config.logs
    assert (audit.engine, audit.protocols, audit.period) == ("iptables-log", "tcp", 30.0)
    assert audit.namespaces == ("^qrouter-.*$",)
    assert (audit.chain, logs.prefix, logs.prefix_dnat, logs.prefix_other) == ("anetcon", "[ANETCON]", "[D]", "[X]")
    assert (logs.debug, logs.file, logs.namespace_hash) == (False, "/var/log/anetcon/anetcon.log", True)
    assert logs.namespace_hash_file == "/var/lib/anetcon/namespace.hash"
    assert loaded.sources["audit.namespaces"] == f"{path}:3"
    assert loaded.sources["audit.engine"] == str(path)
    assert loaded.sources["store.path"] == "default"


def test_every_key(tmp_path: Path) -> None:
    """Every key is read, into the setting it became; one that only other lines use is no mistake."""
    path = tmp_path / "anetcon.conf"
    path.write_text(EVERYTHING)
    loaded = load(path, environment={})
    audit, logs = loaded.config.audit, loaded.config.logs
    assert audit.namespaces == ("^qrouter-.*$", "default", "snat-(a|b)")
    assert audit.networks == {
        "qrouter-a4fadad3-e529-4329-a086-010b84363596": ("10.0.0.0/8", "192.168.1.1/24"),
        "qrouter-b": ("2001:db8::/32",),
    }
    assert (audit.period, audit.chain) == (7.5, "audit")
    assert (logs.prefix, logs.prefix_dnat, logs.prefix_other) == ("[AUDIT]", "[F]", "[N]")
    assert (logs.namespace_hash, logs.namespace_hash_file) == (False, "")
    assert (logs.debug, logs.file) == (True, "/var/log/audit.log")
    said = seed.Seed(path, EVERYTHING).given
    assert set(seed.names()) == {(value.name, key) for key, value in said.items() if value.name}
    assert {key for _, key in seed.names()} <= set(SETTINGS)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("PERIOD=30s", 1, "PERIOD must be a number of seconds"),
        ("PERIOD=0", 1, "PERIOD must be a number of seconds"),
        (
            'NETS=( "qrouter-1"\n "10.0.0.0/8" qrouter-2 )',
            2,
            "NETS has the name 'qrouter-2' without networks behind it",
        ),
        ('NETS=( qrouter-1\n "10.0.0.0/8 10.0.0.300" )', 2, "NETS has the bad network '10.0.0.300' for 'qrouter-1'"),
        ('NETS=( "10.0.0.0/8" qrouter-1 )', 1, "where the name of a namespace must be"),
        ('NETS=( qrouter-1 "" )', 1, "NETS has no networks for 'qrouter-1'"),
        ("NAMESPACES=( a\n 'b\\(' )", 2, "NAMESPACES has the bad regular expression 'b\\\\('"),
        ('NAMESPACES=( a\n "b default" )', 2, "which is one pattern and finds no namespace"),
        ("NAMESPACES=''", 1, "an empty pattern"),
        ("NAMESPACES=( a )\nNAMESPACES+=default", 2, "write NAMESPACES+=( … )"),
        ("NAMESPACES=()", 1, "NAMESPACES is empty"),
        (
            "\nLOG_PREFIX='[ANETCON-OF-GATEWAY-7]'",
            2,
            "LOG_PREFIX and what goes with it are 36 bytes together; at most 29",
        ),
        ("LOG_PREFIX_DNAT='[ANETCON-OF-GATEWAY-7]'", 1, "at most 29"),
        ("CHAIN_NAME=POSTROUTING", 1, "CHAIN_NAME must be a chain name of our own"),
        ("LOGFILE=anetcon.log", 1, "LOGFILE must be an absolute path"),
        ("A=1\nPERIDO=3", 1, "there is no setting A"),
        ("PERIDO=3", 1, "there is no setting PERIDO; did you mean PERIOD?"),
        ("PERIOD=3\nPERIOD=$(date)", 2, "this line runs `$(date)`; replace it with its output"),
        ("LOGFILE=/x/\xff", 1, "no printable UTF-8 text"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, line: int, reason: str) -> None:
    """A mistake is one sentence with the line, the file's own name of the setting, and what is wrong."""
    path = tmp_path / "anetcon.conf"
    path.write_bytes((text if "NAMESPACES" in text else f"{text}\nNAMESPACES=( q )\n").encode("latin-1"))
    with pytest.raises(ConfigError) as error:
        load(path, environment={})
    sentence = str(error.value)
    assert sentence.startswith(f"{path}:{line}: ")
    assert reason in sentence
    assert "\n" not in sentence


def test_networks_have_any_blanks_between_them(tmp_path: Path) -> None:
    """Networks of a namespace may be on several lines, or in columns, inside one pair of quotes."""
    path = tmp_path / "anetcon.conf"
    path.write_text('NAMESPACES=(^q)\nNETS=( r1 "10.0.0.0/8\n\t172.16.0.0/12" )')
    assert load(path, environment={}).config.audit.networks == {"r1": ("10.0.0.0/8", "172.16.0.0/12")}


def test_the_standard_files(tmp_path: Path) -> None:
    """Without a TOML file the old one is read; beside one it is not."""
    toml, old = tmp_path / "anetcon.toml", tmp_path / "anetcon.conf"
    old.write_text("NAMESPACES=( default )\nPERIOD=31")
    loaded = load(environment={}, standard_files=[toml, old])
    assert (loaded.file, loaded.config.audit.period) == (old, 31.0)
    toml.write_text("[audit]\nperiod = 7")
    assert load(environment={}, standard_files=[toml, old]).config.audit.period == 7.0


@pytest.mark.parametrize("text", ["[audit]\nperiod =\n", "PERIOD = 5"])
def test_a_file_of_neither_format(tmp_path: Path, text: str) -> None:
    """What is no TOML is told what an old file has wrong."""
    file = tmp_path / "anetcon.toml.new"
    file.write_text(text)
    with pytest.raises(ConfigError, match=":1: this line "):
        load(file, environment={})


def test_a_file_that_names_no_namespace(tmp_path: Path) -> None:
    """Nothing is audited that the file does not name; an option may."""
    path = tmp_path / "anetcon.conf"
    path.write_text("PERIOD=30\n")
    with pytest.raises(ConfigError) as error:
        load(path, environment={})
    assert str(error.value) == f"{path}: NAMESPACES is empty: nothing would be audited"
    loaded = load(path, {"audit.namespaces": Given(["^qrouter-"], "--namespace")}, {})
    assert loaded.config.audit.namespaces == ("^qrouter-",)


@given(st.text(alphabet=st.sampled_from('NAMESPCETD_=+()[]$`"\\;# \n\t10./8aé'), max_size=60))
def test_anything_is_read_or_refused(text: str) -> None:
    """No text makes the reader fail otherwise than by a ConfigError; each names a line that is there."""
    lines = range(1, text.count("\n") + 2)
    try:
        found = [value.source for value in seed.Seed(Path("f"), text).given.values()]
    except ConfigError as error:
        found = [str(error)]
    assert all(source == "f" or int(source.split(":")[1]) in lines for source in found)


def test_the_docs_name_every_key() -> None:
    """The page for those who come from the old program has every old key beside its setting."""
    page = (Path(__file__).parents[4] / "docs/how-to/come-from-the-bash-anetcon.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    for name, key in seed.names():
        assert any(f"`{name}`" in row and f"`{key}`" in row for row in rows), (name, key)
