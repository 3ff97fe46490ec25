"""Which files are records and logs."""

from __future__ import annotations

from pathlib import Path

from anetcon.config.load import load
from anetcon.install import records
from anetcon.install.tree import Tree

SINK = '[sinks.siem]\ntype = "json"\nto = "file:/siem/a.json"\n'


def test_in_a_folder_of_others_only_ours_goes(tmp_path: Path) -> None:
    """Of /var/lib/anetcon everything; of any other folder what the program makes there."""
    file = tmp_path / "anetcon.toml"
    file.write_text('[store]\npath = "/data"\n[logs]\nfile = "/var/log/audit.log"\n' + SINK)
    for name in ("data/journal/x", "data/node=a/y", "data/lock", "data/importing.lock", "data/manifest.jsonl",
                 "data/photos/z", "var/lib/anetcon/of-before-it-was-moved", "var/log/anetcon/any", "var/log/audit.log",
                 "var/log/audit.log.1.gz", "var/log/syslog", "siem/a.json", "siem/a.json.1",
                 "siem/b.json"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    found = records.places(Tree(tmp_path), load(file, environment={}).config)
    names = {str(place.relative_to(tmp_path)) for place in found}
    assert names == {
        *("data/journal", "data/node=a", "data/lock", "data/importing.lock", "data/manifest.jsonl"),
        *(
            "var/lib/anetcon/of-before-it-was-moved",
            "var/log/anetcon/any",
            "var/log/audit.log",
            "var/log/audit.log.1.gz",
            "siem/a.json",
            "siem/a.json.1",
        ),
    }
    assert records.size(found) == 5 * len(found)
    for place in found:
        records.remove(place)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"anetcon.toml", "data/photos/z", "var/log/syslog", "siem/b.json"}
