"""Which value holds, where it came from, and what is said of a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.config.load import Given, Loaded, line_of, load
from anetcon.errors import ConfigError

WHOLE = """\
node = "gw1"

[audit]
namespaces = [
  "^qrouter-",
  "default",
]
period = 5

[audit.networks]
qrouter-1 = ["10.0.0.1/8"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes its configuration."""
    return tmp_path / "anetcon.toml"


def loaded(file: Path, text: str, **more: dict[str, str]) -> Loaded:
    """The configuration of a text, nothing taken from this process's environment."""
    file.write_text(text)
    options = {key: Given(value, "--option") for key, value in more.get("options", {}).items()}
    return load(file, options, more.get("environment", {}))


def refused(file: Path, text: str, **more: dict[str, str]) -> str:
    """The one sentence about a configuration that cannot be used."""
    with pytest.raises(ConfigError) as error:
        loaded(file, text, **more)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert error.value.exit_status == 5
    return sentence


def test_a_file_over_the_defaults(file: Path) -> None:
    """Values of the file hold, the rest is by default, and each says where it came from."""
    made = loaded(file, WHOLE)
    assert made.config.node == "gw1"
    assert made.config.audit.namespaces == ("^qrouter-", "default")
    assert made.config.audit.period == 5.0
    assert made.config.store.flush_seconds == 0.5
    assert made.sources["audit.namespaces"] == f"{file}:4"
    assert made.sources["audit.period"] == f"{file}:8"
    assert made.sources["audit.networks"] == f"{file}:10"
    assert made.sources["store.path"] == "default"


def test_the_environment_over_the_file_and_options_over_both(file: Path) -> None:
    """Defaults, file, environment, command line: the later wins."""
    text = '[store]\npath = "/file"\n[logs]\ndir = "/file"\n[audit]\nperiod = 1'
    environment = {
        "ANETCON_STORE_PATH": "/environment",
        "ANETCON_LOGS_DIR": "/environment",
        "ANETCON_AUDIT_PERIOD": "2",
    }
    made = loaded(file, text, environment=environment, options={"store.path": "/option"})
    assert (made.config.store.path, made.sources["store.path"]) == ("/option", "--option")
    assert (made.config.logs.dir, made.sources["logs.dir"]) == ("/environment", "ANETCON_LOGS_DIR")
    assert made.config.audit.period == 2.0
    assert loaded(file, text, environment={"ANETCON_STORE": "/short"}).config.store.path == "/short"


def test_values_of_the_environment(file: Path) -> None:
    """They are TOML; where a text is expected they are taken as they stand, and one text does for a list."""
    environment = {
        "ANETCON_AUDIT_NAMESPACES": "^qrouter-",
        "ANETCON_AUDIT_RECORD": '["end"]',
        "ANETCON_LOGS_ENABLED": "false",
        "ANETCON_LOGS_PREFIX": "[A]",
        "ANETCON_NODE": "12",
        "ANETCON_SOMETHING": "not ours",
    }
    config = loaded(file, "", environment=environment).config
    assert config.audit.namespaces == ("^qrouter-",)
    assert config.audit.record == ("end",)
    assert config.logs.enabled is False
    assert (config.logs.prefix, config.node) == ("[A]", "12")


def test_what_is_found_out_here_and_now(file: Path) -> None:
    """The node is the host's name, and the file of hashes is in the store, unless told otherwise."""
    made = loaded(file, '[store]\npath = "/s"')
    assert made.config.node
    assert made.config.logs.namespace_hash_file == "/s/namespace.hash"
    assert loaded(file, '[logs]\nnamespace_hash_file = ""').config.logs.namespace_hash_file == ""


def test_resolved_settings_are_plain(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's processes get numbers of protocols, networks without host bits and the file's name."""
    text = '[audit]\nprotocols = ["udp", "tcp"]\n[audit.networks]\nr = ["10.0.0.1/8", "2001:db8::/32"]'
    resolved = loaded(file, text).resolved()
    assert resolved["audit"]["protocols"] == [6, 17]
    assert resolved["audit"]["networks"] == {"r": ["10.0.0.0/8", "2001:db8::/32"]}
    assert resolved["settings_file"] == str(file)
    monkeypatch.chdir(file.parent)
    assert load(Path(file.name)).resolved()["settings_file"] == str(file), "whoever reads it may be elsewhere"
    assert loaded(file, "").resolved()["audit"]["protocols"] == "all"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[audit]\nperod = 3", 2, "audit.period"),
        ("\n[store]\nperiod = 3", 3, "audit.period"),
        ("[audits]\nperiod = 3", 1, "did you mean audit?"),
        ("period = 3", 1, "audit.period"),
        ("[audit]\nxyzzy = 3", 2, "config show"),
        ("audit = 3", 1, "[audit]"),
        ('[audit]\nperiod = "x"', 2, "seconds"),
        ("[audit]\nperiod = 0", 2, "above 0"),
        ("[audit]\nperiod = true", 2, "seconds"),
        ("[audit]\nbuffer_bytes = 1.5", 2, "whole number"),
        ("[audit]\nnamespaces = 3", 2, "a list of texts"),
        ('[audit]\nengine = "netlink"', 2, '"conntrack"'),
        ('[audit]\nnamespaces = [\n  "^a",\n  "b(",\n]', 4, "'b('"),
        ('[audit.networks]\na = ["10.0.0.0/8"]\nb = [\n "10.0.0.0/33"]', 4, "10.0.0.0/33"),
        ("[store]\nflush_seconds = 60", 2, "at most 10"),
        ("[store]\nmemory_megabytes = 1", 2, "megabytes, from 4 to 65536"),
        ('[sinks.siem]\ntype = "syslog"', 2, "sinks.siem.type must be \"json\", not 'syslog'"),
        ('[sinks.siem]\ntype = "json"', 1, "has no to: it must be file: and an absolute path"),
        ('[sinks.siem]\ntype = "json"\ntoo = "file:/a"', 3, "did you mean to?"),
        ('[sinks.siem]\ntype = "json"\nxyzzy = 1', 3, "a sink has type, form, to"),
        ('[sinks.siem]\nto = "file:a"\ntype = "json"', 2, "absolute path"),
        ('[sinks.siem]\nto = "/a"\ntype = "json"', 2, "file: and"),
        ('[sinks.text]\nto = "file:/a"\ntype = "json"', 1, "another name"),
        ('[sinks."a/b"]\nto = "file:/a"\ntype = "json"', 1, "another name"),
        ("[sinks]\nsiem = 3", 1, "[sinks.NAME]"),
        ("node = 'a/b'", 1, "node"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(file: Path, text: str, line: int, says: str) -> None:
    """Every mistake names the file, the line and what would be right."""
    sentence = refused(file, text)
    assert sentence.startswith(f"{file}:{line}: ")
    assert says in sentence


def test_a_file_that_is_no_toml(file: Path) -> None:
    """Its line is named, and what it should be, in our words."""
    assert refused(file, "[audit]\nperiod == 3").startswith(
        f"{file}:2: this is no TOML, from column 9 on: a text stands"
    )


def test_mistakes_elsewhere_name_their_place(file: Path) -> None:
    """A wrong variable or option is named instead of a line."""
    assert refused(file, "", environment={"ANETCON_AUDIT_PERIOD": "x"}).startswith("ANETCON_AUDIT_PERIOD: ")
    assert "audit.period" in refused(file, "", environment={"ANETCON_AUDIT_PEROD": "3"})
    assert refused(file, "", options={"audit.engine": "netlink"}).startswith("--option: ")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder and one that is no text: a sentence each."""
    folder, binary = tmp_path / "folder.toml", tmp_path / "binary.toml"
    folder.mkdir()
    binary.write_bytes(b"\xff\xfe")
    for path, says in (
        (tmp_path / "none.toml", "No such file"),
        (folder, "directory"),
        (binary, "UTF-8"),
    ):
        with pytest.raises(ConfigError, match=says) as error:
            load(path, environment={})
        assert str(path) in str(error.value)


def test_the_standard_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file named, the first standard one that exists is read; without any, the defaults hold."""
    toml, old = tmp_path / "anetcon.toml", tmp_path / "anetcon.conf"
    monkeypatch.setattr("anetcon.config.load.STANDARD_FILES", (toml, old))
    assert load(environment={}).file is None
    old.write_text("PERIOD=")
    with pytest.raises(ConfigError, match=r"anetcon\.conf"):
        load(environment={})
    toml.write_text("[audit]\nperiod = 7")
    assert load(environment={}).config.audit.period == 7.0


def test_a_version_without_the_old_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses a file of the bash ANetCon; it never goes on as if there were none."""
    old = tmp_path / "anetcon.conf"
    old.write_text("NAMESPACES=( default )\n")
    monkeypatch.setattr("anetcon.bash.has", lambda _: False)
    with pytest.raises(ConfigError, match=f"^{old} is no TOML: this version does not read"):
        load(environment={}, standard_files=[old])


def test_relative_folders_of_options_are_made_absolute(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option is relative to where it was typed; in the file a path must be absolute."""
    monkeypatch.chdir(file.parent)
    assert loaded(file, "", options={"store.path": "s"}).config.store.path == str(file.parent / "s")
    assert "absolute" in refused(file, '[store]\npath = "s"')


@given(st.text())
def test_any_text_loads_or_is_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever is in a file, it is a configuration or a ConfigError of one line."""
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(text.encode(errors="replace"))
    try:
        load(file, environment={})
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most texts are refused, some load


@given(st.text(), st.text(min_size=1), st.text())
def test_looking_for_a_line_always_ends_in_one(text: str, key: str, item: str) -> None:
    """The line of anything in anything is a line."""
    assert 1 <= line_of(text, key, item) <= max(1, len(text.splitlines()))


@pytest.mark.parametrize(
    ("engine", "there", "asked", "writer", "why"),
    [
        ("conntrack", True, "auto", "anetcon", "default: auto, engine conntrack has no kernel lines"),
        ("nftables-log", False, "auto", "anetcon", "default: auto, there is no "),
        ("iptables-log", True, "auto", "rsyslog", "default: auto, "),
        ("iptables-log", True, "anetcon", "anetcon", "test"),
        ("iptables-log", False, "rsyslog", "rsyslog", "test"),
    ],
)
def test_who_writes_the_text_logs(tmp_path: Path, engine: str, there: bool, asked: str, writer: str, why: str) -> None:
    """Left to us it is rsyslog where the kernel has lines and rsyslog is told of them; and it is said why."""
    rsyslog = tmp_path / "30-anetcon.conf"
    if there:
        rsyslog.write_text("")
    given = {"audit.engine": Given(engine, "test")}
    if asked != "auto":
        given["logs.writer"] = Given(asked, "test")
    (tmp_path / "a.toml").write_text("")
    found = load(tmp_path / "a.toml", given, {}, rsyslog)
    assert found.config.logs.writer == found.resolved()["logs"]["writer"] == writer
    assert found.source("logs.writer").startswith(why)
    assert found.sources["logs.writer"] == ("default" if asked == "auto" else "test")


def test_toml_under_another_name(tmp_path: Path) -> None:
    """Is said to be that, as is what an installation writes beside an edited file."""
    file = tmp_path / "anetcon.toml.new"
    file.write_text("[audit]\nperiod = 5\n")
    with pytest.raises(ConfigError, match="is TOML"):
        load(file)


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 5000])
def test_what_no_number_and_no_list_is(tmp_path: Path, value: str) -> None:
    """Endless ones are one sentence as well, in a file of either name and in the environment."""
    for name in ("anetcon.toml", "anetcon.conf"):
        file = tmp_path / name
        file.write_text(f"[audit]\nperiod = {value}\n")
        with pytest.raises(ConfigError, match=name):
            load(file)
    with pytest.raises(ConfigError, match="ANETCON_AUDIT_PERIOD"):
        load(environment={"ANETCON_AUDIT_PERIOD": value}, standard_files=())
