"""A whole import in one process: what is added, what is not, and what is said of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from anetcon.decode.logline import Prefix
from anetcon.errors import InputError, StoreError
from anetcon.gaps import Cause
from anetcon.history import importing, source
from anetcon.history.import_report import Counts, Report
from anetcon.history.importing import Import, Settings
from anetcon.history.names import NamespaceCodes, Nodes
from anetcon.history.source import Source
from anetcon.store import layout, lock, manifest
from anetcon.store.coverage import Question, coverage
from anetcon.store.limits import Limits
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from anetcon.system.printable import namespace_hash
from tests.support.old_lines import AT, DESTROY, MARK, NEW, line
from tests.support.records import DAY, ROUTER, SECOND, T0, Making, logged, lone, start, whole


class Old:
    """A folder with logs and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "store"

    def take(self, *texts: str, limits: Limits | None = None, now: int = T0 + DAY, **options: Any) -> Counts:
        """Import these files; all of them together."""
        return self.report(*texts, limits=limits, now=now, **options).total()

    def report(self, *texts: str, limits: Limits | None = None, now: int = T0 + DAY, **options: Any) -> Report:
        """Import these files."""
        paths = [self.folder / f"{number}.log" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return self.sources([Source(path) for path in paths], limits=limits, now=now, **options)

    def sources(
        self, sources: Sequence[Source], limits: Limits | None = None, now: int = T0 + DAY, **options: Any
    ) -> Report:
        """Import these."""
        settings = Settings(
            store=self.store,
            nodes=Nodes("gw1", options.get("node")),
            namespaces=NamespaceCodes(
                {namespace_hash(ROUTER).encode(): ROUTER, **options.get("named", {})},
                options.get("unhashed", "default"),
                given="unhashed" in options,
            ),
            zone=UTC,
            prefix=Prefix("[ANETCON]", "[D]", "[X]", hashed=True),
            limits=limits or Limits(free=0),
            events_netns=ROUTER,
            now=now,
        )
        return Import(settings).run(sources)

    def counted(self) -> set[str]:
        """Files of connections that count."""
        return {entry.file for entry in manifest.replay(self.store).of("connections")}

    def rows(self) -> list[dict[str, Any]]:
        """Every connection, by start."""
        return list(Store(self.store).connections().read_all().to_pylist())

    def ports(self) -> list[int]:
        """Their ports."""
        return sorted(row["src_port"] for row in self.rows())

    def causes(self, since: int | None, until: int | None, **named: Any) -> list[tuple[str, int | None, int | None]]:
        """Gaps with their bounds, in seconds from T0."""
        gaps = coverage(Store(self.store), Question(since, until, **named), now=T0 + 2 * DAY).gaps
        times = [gaps[name].cast("int64").to_pylist() for name in ("from", "to")]
        bounds = ([t if t is None else (t - T0) // SECOND for t in column] for column in times)
        return list(zip(gaps["cause"].to_pylist(), *bounds, strict=True))


@pytest.fixture
def old(tmp_path: Path) -> Old:
    """An empty one."""
    return Old(tmp_path)


def test_what_a_line_becomes(old: Old) -> None:
    """A connection of origin import without end and public side, where a sealed row of a line of the daemon's is."""
    old.take(line(1))
    (row,) = old.rows()
    assert (row["origin"], row["end_reason"], row["netns"], row["node"]) == ("import", "unknown", ROUTER, "gw1")
    assert [row[name] for name in ("end", "nat_src_ip", "nat_src_port", "packets_out")] == [None] * 4
    assert (old.store / "node=gw1/date=2026-11-20/00000001.parquet").exists()


def test_twice(old: Old) -> None:
    """The same lines, in whatever files, are the same connections; equal lines of one file are each their own."""
    text = line(1) + line(2) + line(2) + line(3, T0 + SECOND)
    assert old.take(text).added == 4
    for again in ([text], [text, text], [text[: len(text) // 2], text], ["".join(text.splitlines(keepends=True)[1:])]):
        assert (old.take(*again).added, old.ports()) == (0, [1, 2, 2, 3])
    assert old.take(text + line(4)).added == 1
    coarse = line(1, fine=False) + line(2, fine=False) + line(2, fine=False) + line(9, fine=False)
    assert (old.take(coarse).added, old.ports()) == (1, [1, 2, 2, 3, 4, 9])


def test_years_that_turn_between_lines_of_others(old: Old) -> None:
    """The year of a line is that of its place in the file, not of the line of ours before it; also of a pipe's."""
    others = [f"{day} 12:00:00 gw1 cron: x\n" for day in ("Dec 28", "Dec 27", "Jan  3")]
    ours = [line(port, at, fine=False) for port, at in ((1, T0 - 322 * DAY), (2, T0))]  # 2 January, 20 November
    text = "".join((others[0], ours[0], others[1], others[2], ours[0].replace("SPT=1 ", "SPT=3 "), ours[1]))
    assert old.take(text).added == 3
    assert [(row["src_port"], row["start"].year) for row in old.rows()] == [(1, 2025), (3, 2026), (2, 2026)]
    pipe = old.folder / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        pool.submit(pipe.write_text, "".join((others[0], ours[0])))
        old.store = old.folder / "other"
        assert old.sources([Source(pipe)]).total().added == 1
    assert [row["start"].year for row in old.rows()] == [2026]


def pipe(old: Old, lines: list[str]) -> Report:
    """Import what comes through a pipe, in blocks of a few lines."""
    path = old.folder / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor() as pool:
        written = pool.submit(path.write_text, "".join(lines))
        try:
            return old.sources([Source(path)])
        finally:
            path.unlink()
            written.cancel() or written.exception()


def test_a_pipe_of_more_than_a_year(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has to be told when it begins: a year guessed of its first line would be wrong, and nothing is added."""
    monkeypatch.setattr(source, "BLOCK", 1000)
    days = [line(number, T0 - number * 7 * DAY, fine=False) for number in range(60, 0, -1)]
    with pytest.raises(InputError, match=r"cannot tell the years of .*--until.*nothing of it was imported"):
        pipe(old, days)
    assert not old.store.joinpath("manifest.jsonl").exists()
    assert pipe(old, days[20:]).total().added == 40
    lost = [line(1, T0, fine=False).replace("Nov 20", "Jan  1"), *[line(5, T0, fine=False)] * 9]
    assert pipe(old, [*days[-3:], *lost]).total().unreadable == 1


def test_in_many_commits(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that takes several is not mistaken for lines that were there before."""
    monkeypatch.setattr(importing, "ROWS", 1000)
    monkeypatch.setattr("anetcon.history.source.BLOCK", 50_000)
    text = line(7) * 1500 + "".join(line(port) for port in range(1500))
    assert old.take(text).added == 3000
    assert old.take(text).already == 3000
    assert len(old.rows()) == 3000


def brought(old: Old) -> list[list[tuple[str, int, str]]]:
    """What the manifest's lines of imports say they are from."""
    lines = [json.loads(line) for line in layout.manifest_path(old.store).read_text().splitlines()]
    kind = [line.get("sources", []) for line in lines if line.get("why") == "import"]
    return [[(Path(each["name"]).name, each["bytes"], each["sha256"]) for each in sources] for sources in kind]


def digested(name: str, text: str) -> tuple[str, int, str]:
    """The same of a file with this text."""
    return name, len(text.encode()), hashlib.sha256(text.encode()).hexdigest()


def test_what_it_is_from(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last commit of each file that brings rows names it, with size and digest; one that brings nothing is not."""
    first, second = line(1) + line(2), line(3)
    report = old.report(first, second, "nothing of ours\n")
    assert brought(old) == [[digested("0.log", first)], [digested("1.log", second)]]
    assert [(file.bytes, file.sha256) for file in report.files][:2] == [each[0][1:] for each in brought(old)]
    assert old.take(first, second).added == 0
    assert len(brought(old)) == 2
    monkeypatch.setattr(source, "BLOCK", 1000)
    monkeypatch.setattr(importing, "ROWS", 3)
    monkeypatch.setattr(importing, "SPARE", 20)
    many = "".join(line(port, T0 + port * SECOND) for port in range(10, 200))
    assert old.take(many).added == 190
    assert [len(sources) for sources in brought(old)[2:-1]] == [0] * (len(brought(old)) - 3)
    assert brought(old)[-1] == [digested("0.log", many)]


def test_the_file_of_an_end_that_is_in_another(old: Old) -> None:
    """Both are named."""
    texts = [f"{NEW}\n", f"{DESTROY}\n"]
    old.report(*texts)
    named = [each for sources in brought(old) for each in sources]
    assert named == [digested(f"{number}.log", text) for number, text in enumerate(texts)]


def test_names_that_lie(old: Old) -> None:
    """A name is recorded so that it is one line, and which bytes it had."""
    path = old.folder / "a\nb\udcff.log"
    path.write_text(line(1))
    old.sources([Source(path)])
    assert brought(old)[0][0][0] == r"a\x0ab\xff.log"


def test_what_this_daemon_recorded(old: Old) -> None:
    """Lines of connections that the store has from events or lines of its own add nothing, sealed or not; a line of
    another connection does."""
    making = Making(old.store)
    making.add(*whole(5), logged(src_port=1, start=T0 + 300_000)).rotate()
    assert Sealer(old.store, lambda: T0 + 60 * SECOND).seal()
    making.add(start(src_port=2, start=T0 + 90))
    counts = old.take("".join(line(port, T0 + SECOND) for port in (40000, 1, 2, 3)))
    assert (counts.already, counts.added, old.ports()) == (3, 1, [1, 2, 3, 40000])
    making.close()


def test_a_packet_is_no_connection(old: Old) -> None:
    """One that conntrack called invalid, of the tuple and time of a line, does not stand for it."""
    making = Making(old.store)
    making.add(lone(), lone(src_port=1, nat_src_port=1)).rotate()
    assert Sealer(old.store, lambda: T0 + 60 * SECOND).seal()
    counts = old.take(line(40000) + line(1))
    assert (counts.already, counts.added) == (0, 2)
    making.close()


def test_namespaces_that_nobody_knows(old: Old) -> None:
    """They are kept by their hash and told; once they are known the same lines still add nothing."""
    report = old.report(line(1, mark="[11111111]") + line(2, mark="[11111111]") + line(3))
    assert report.strangers == {"[11111111]": 2}
    assert {row["netns"] for row in old.rows()} == {"[11111111]", ROUTER}
    old.store = old.folder / "other"
    old.take(line(1, mark="[11111111]") + line(2, mark=f"[{namespace_hash(ROUTER)}]"))
    assert old.take(line(2)).added == 0


def test_a_namespace_that_is_known_later(old: Old) -> None:
    """The same lines with a file of hashes that names it give its connections the name, each once, beside what else is
    in those files; lines that told no namespace at all are given one, too. Nothing forgets a name again."""
    hashes = {name: namespace_hash(name) for name in ("gw-a", "gw-b")}
    strange, mark = (f"[{hashed}]" for hashed in hashes.values())
    lines = [line(1, mark=strange), line(2, mark=strange), line(2, mark=strange), line(3), line(4, mark=mark)]
    older = line(5).replace(f"[ANETCON][X]{MARK}", "[ANETCON] [NAT]")
    assert old.take("".join(lines[:2]), "".join((*lines[1:], older))).added == 6
    named = {hashed.encode(): name for name, hashed in hashes.items()}
    seen = old.take("".join(lines), named=named)
    assert (seen.added, seen.completed, seen.already) == (0, 4, 1)
    placed = [(1, "gw-a"), (2, "gw-a"), (2, "gw-a"), (3, ROUTER), (4, "gw-b")]
    assert sorted((row["src_port"], row["netns"]) for row in old.rows()) == [*placed, (5, "unknown")]
    again = [old.take("".join((*lines, older)), named=some) for some in (named, {})]
    assert [(counts.completed, counts.already) for counts in again] == [(0, 6), (0, 6)]
    assert old.take(older.replace("[ANETCON] [NAT]", "[ANETCON][X]"), unhashed="gw-c").completed == 1
    assert sorted((row["src_port"], row["netns"]) for row in old.rows()) == [*placed, (5, "gw-c")]
    assert {str(path.relative_to(old.store)) for path in old.store.glob("node=*/*/*")} == old.counted()


def test_a_file_of_hashes_that_was_edited(old: Old) -> None:
    """The same lines again add nothing when a namespace was renamed in it, nor when a hash of its own making is named
    later: each row is one namespace's."""
    other = line(2, mark="[11111111]")
    assert old.take(line(1) + other).added == 2
    assert old.take(line(1), named={namespace_hash(ROUTER).encode(): "customer 7"}).already == 1
    assert old.take(other, named={b"11111111": "qrouter-2"}).completed == 1
    assert old.take(line(1) + other, named={b"11111111": "qrouter-2"}).already == 2
    assert [row["netns"] for row in old.rows()] == [ROUTER, "qrouter-2"]


def test_in_many_commits_that_are_known_later(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier commit of this run left of a file is not taken for what it brought."""
    monkeypatch.setattr(importing, "ROWS", 500)
    monkeypatch.setattr("anetcon.history.source.BLOCK", 50_000)
    monkeypatch.setattr(importing, "SPARE", 500)
    hashed = namespace_hash("gw-a")
    text = "".join(line(port, mark=f"[{hashed}]") for port in range(2000))
    assert old.take(text + text).added == 4000
    others = "".join(line(3000 + port) for port in range(300))  # so that commits end within the files of the first run
    counts = old.take(others + text + text, named={hashed.encode(): "gw-a"})
    assert (counts.added, counts.completed) == (300, 4000)
    assert old.ports() == sorted([*range(2000), *range(2000), *range(3000, 3300)])
    assert {row["netns"] for row in old.rows()} == {"gw-a", ROUTER}


def test_nodes(old: Old) -> None:
    """Hosts of a central log are nodes; --node is all of them."""
    old.take(line(1) + line(2, host="gw2.example") + line(3, host="GW1.example"))
    assert [row["node"] for row in old.rows()] == ["gw1", "gw2.example", "gw1"]
    assert (old.store / "node=gw2.example").is_dir()
    old.store = old.folder / "other"
    old.take(line(1, host="gw2"), node="gw9")
    assert [row["node"] for row in old.rows()] == ["gw9"]


def test_what_retention_would_remove(old: Old) -> None:
    """It is not added, nor claimed to be on record."""
    counts = old.take(line(1, T0 - 3 * DAY) + line(2), limits=Limits(age=2 * DAY, free=0), now=T0 + DAY)
    assert (counts.added, counts.too_old, old.ports()) == (1, 1, [2])
    assert old.causes(T0 - 3 * DAY, T0 - 2 * DAY) == [("never-recorded", None, 0)]


def test_coverage(old: Old) -> None:
    """Before the first line and behind the last is a gap, in between lines are all there is; a time of silence longer
    than some hours is a gap again, files that adjoin are one stretch."""
    hour = 3600 * SECOND
    old.take(line(1) + line(2, T0 + hour), line(3, T0 + 6 * hour), line(4, T0 + 13 * hour))
    assert old.causes(T0 + 1, T0 + 6 * hour - 1) == [(Cause.IMPORTED_LINES, 0, 6 * 3600)]
    assert old.causes(T0 - DAY, T0 - 1) == [("never-recorded", None, 0)]
    assert old.causes(T0 + 7 * hour, T0 + 12 * hour) == [("never-recorded", 6 * 3600, 13 * 3600)]
    assert [cause for cause, *_ in old.causes(T0 + 1, T0 + DAY)] == [
        *(Cause.IMPORTED_LINES, "never-recorded", Cause.IMPORTED_LINES, "never-recorded"),
    ]


def test_coverage_beside_a_daemon(old: Old) -> None:
    """What was before a daemon's first record is replaced by imported text of its node, and of no other."""
    making = Making(old.store).audited(node="gw1")
    making.add({"node": "gw1", "from": None, "to": T0 + DAY, "cause": "never-recorded"}, table="gaps")
    making.alive(T0 + 2 * DAY)
    old.take(line(1) + line(2, T0 + 60 * SECOND))
    assert old.causes(T0 + SECOND, T0 + 2 * SECOND) == [(Cause.IMPORTED_LINES, 0, 60)]
    old.take(line(3, T0 + DAY + SECOND) + line(4, T0 + DAY + 60 * SECOND), now=T0 + 2 * DAY)
    assert old.causes(T0 + DAY + 2 * SECOND, T0 + DAY + 3 * SECOND) == [], "it was on record anyhow"
    assert old.causes(T0 + 90 * SECOND, T0 + 100 * SECOND) == [("never-recorded", 60, 86400)]
    old.take(line(1, T0 + 3600 * SECOND, host="gw2") + line(2, T0 + 3660 * SECOND, host="gw2"))
    during = old.causes(T0 + 3601 * SECOND, T0 + 3602 * SECOND)
    assert sorted(cause for cause, *_ in during) == [Cause.IMPORTED_LINES, "never-recorded"]
    making.close()


def test_coverage_of_everything(old: Old) -> None:
    """Who names no time is told what is missing between the imported text and the daemon's first record; not the time
    before both, nor what text of another node is older than."""
    making = Making(old.store).audited(node="gw1")
    making.add({"node": "gw1", "from": None, "to": T0 + DAY, "cause": "never-recorded"}, table="gaps")
    making.alive(T0 + 2 * DAY)
    assert old.causes(None, None) == []
    old.take(line(1, T0 - DAY, host="gw2"))
    assert old.causes(None, None, node=("gw1",)) == []
    old.take(line(1) + line(2, T0 + 60 * SECOND))
    missing = [(Cause.IMPORTED_LINES, 0, 60), ("never-recorded", 60, 86400)]
    assert old.causes(None, None, node=("gw1",)) == missing
    assert old.causes(None, T0 + 1, node=("gw1",)) == missing[:1]
    making.close()


def test_coverage_of_everything_with_events_alone(old: Old) -> None:
    """Text of one namespace's conntrack leaves the time of all others unrecorded, as it does where a time is named."""
    old.take(NEW + DESTROY)
    assert old.causes(None, None, netns=(ROUTER,)) == [(Cause.IMPORTED_EVENTS, 0, 9), ("never-recorded", 9, None)]
    assert sorted(old.causes(None, None)) == [(Cause.IMPORTED_EVENTS, 0, 9), ("never-recorded", 0, None)]


def test_events(old: Old) -> None:
    """Text of conntrack is whole connections of the namespace named; of that alone it is on record."""
    assert old.take(NEW + DESTROY).added == 1
    (row,) = old.rows()
    assert (row["netns"], row["nat_src_port"], row["end_reason"], row["bytes_in"]) == (ROUTER, 40213, "closed", 235)
    again = old.take(NEW, DESTROY, "x\n")
    assert (again.added, again.lines, again.events, again.others) == (0, 3, 2, 1)
    named = old.causes(T0 + SECOND, T0 + 2 * SECOND, netns=(ROUTER,))
    assert named == [(Cause.IMPORTED_EVENTS, 0, 9)]
    anybody = old.causes(T0 + SECOND, T0 + 2 * SECOND)
    assert sorted(cause for cause, *_ in anybody) == [Cause.IMPORTED_EVENTS, "never-recorded"]


def test_events_that_tell_no_time_or_no_zone(old: Old) -> None:
    """The report counts them: what is not on record, and which stamps stand and fall with --tz."""
    kernel = DESTROY.partition("\t")[2].replace("delta-time=3", "[start=Fri Nov 20 13:05:09 2026] "
                                                "[stop=Fri Nov 20 13:05:12 2026]")  # fmt: skip
    report = old.report(NEW.partition("\t")[2], kernel, NEW.partition("\t")[2])
    assert (report.untimed, report.total().added) == (1, 1)
    assert [counts.zoneless for counts in report.files] == [0, 2, 0]


def test_files_of_conntrack_that_overlap(old: Old) -> None:
    """A beginning that two files of one run have is one connection, whether its end is in them or not."""
    other = NEW.replace("sport=40000", "sport=40001")
    assert old.take(NEW + other, NEW + other + DESTROY, NEW + other).added == 2
    assert old.take(NEW + other, NEW + other).added == 0


@pytest.mark.parametrize("tail", ["delta-time=3 id=99", "id=99"])
def test_an_end_that_is_imported_later(old: Old, tail: str) -> None:
    """A DESTROY ends the connection that an earlier import left open, the latest of its tuple; again it adds nothing,
    nor do all files together, nor the first alone."""
    destroy = DESTROY.replace("delta-time=3 id=99", tail)
    before = NEW.replace(f"[{AT}", f"[{AT - 100}")
    other = NEW.replace("sport=40000", "sport=40001")
    assert old.take(before + NEW + other).added == 3
    first = old.take(destroy)
    assert (first.added, first.completed) == (0, 1)
    ended = T0 + 250 + 3 * SECOND if "delta" in tail else T0 + 9 * SECOND
    for again in ([destroy], [before + NEW + other], [before + NEW + other, destroy], [NEW + destroy]):
        counts = old.take(*again)
        assert (counts.added, counts.completed) == (0, 0), again
    rows = [(row["src_port"], row["start"].timestamp() * 1e6, row["end"]) for row in old.rows()]
    assert [(port, start) for port, start, _ in rows] == [
        (40000, T0 + 250 - 100 * SECOND),
        (40000, T0 + 250),
        (40001, T0 + 250),
    ]
    assert [end and end.timestamp() * 1e6 for *_, end in rows] == [None, ended, None]
    assert [row["bytes_in"] for row in old.rows()] == [None, 235, None]


def test_an_end_that_comes_with_its_beginning(old: Old) -> None:
    """Where a file that was imported has grown by the DESTROY, the connection has its end."""
    assert old.take(NEW).added == 1
    assert old.take(NEW + DESTROY).completed == 1
    (row,) = old.rows()
    assert (row["end"] is not None, row["bytes_in"]) == (True, 235)


def test_stamps_of_both_kinds_of_which_one_is_known_better(old: Old) -> None:
    """What takes the place of a row whose time is finer has that time."""
    hashed = namespace_hash("gw-a")
    old.take(line(1, T0 + 250, mark=f"[{hashed}]"))
    assert old.take(line(1, T0, mark=f"[{hashed}]", fine=False), named={hashed.encode(): "gw-a"}).completed == 1
    assert [(row["netns"], row["start"].microsecond) for row in old.rows()] == [("gw-a", 250)]


def test_ends_of_one_tuple(old: Old) -> None:
    """Of two ends of which one has its beginning beside it, the other does not end the same connection once more; nor
    does an end that was printed before a beginning."""
    old.take(NEW)
    second = DESTROY.replace(f"[{AT + 9}", f"[{AT + 20}").replace("delta-time=3 ", "")
    counts = old.take(NEW + DESTROY + second)
    assert (counts.added, counts.completed) == (1, 1)
    assert [row["start"].timestamp() * 1e6 for row in old.rows()] == [T0 + 250, T0 + 20 * SECOND]
    old.store = old.folder / "other"
    old.take(NEW)
    before = DESTROY.replace(f"[{AT + 9}", f"[{AT - 1}").replace("delta-time=3", "delta-time=0")
    later = DESTROY.replace("sport=40000", "sport=40001")
    counts = old.take(before + later)
    assert (counts.added, counts.completed) == (2, 0)


def test_ends_of_others(old: Old) -> None:
    """One that lasted otherwise than the open one could have, in another zone, or before it, is its own."""
    old.take(NEW)
    for destroy in (
        DESTROY.replace("delta-time=3", "delta-time=300"),
        DESTROY.replace("mark=7", "mark=7 zone=5"),
        DESTROY.replace(f"[{AT + 9}", f"[{AT - 9}").replace("delta-time=3", ""),
    ):
        assert old.take(destroy).added == 1, destroy
    assert [row["end"] is None for row in old.rows()].count(True) == 1


def test_unreadable_lines_are_put_aside(old: Old) -> None:
    """Each behind its file and number, as it was."""
    broken = line(1)[:90] + "\n"
    report = old.report(line(1) + "somebody else's\n" + broken + line(2), "x\n" * 9 + broken)
    assert (report.total().unreadable, report.total().others) == (2, 10)
    assert report.rejects is not None
    names = [str(old.folder / f"{number}.log") for number in (0, 1)]
    assert sorted(report.rejects.read_text().splitlines(keepends=True)) == [
        *(f"{names[0]}:3: {broken}", f"{names[1]}:10: {broken}"),
    ]
    assert report.rejects.parent == old.store / "import"


def test_two_at_once(old: Old) -> None:
    """The second is refused: it could not know what the first is about to add."""
    old.take(line(1))
    with (
        lock.turn(old.store, wait=False, name=layout.IMPORTING_LOCK),
        pytest.raises(StoreError, match="another import"),
    ):
        old.take(line(2))
    assert old.take(line(2)).added == 1


def test_a_disk_without_room(old: Old) -> None:
    """Nothing is added that the daemon's floor of free space forbids, and it says what to do."""
    with pytest.raises(StoreError, match="make room, and run it again"):
        old.take(line(1), limits=Limits(free=1 << 60))
    assert old.take(line(1)).added == 1
