"""`anetcon search`: connections by any field, by start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa

from anetcon.cli import answer
from anetcon.cli.options import LimitOption, StoreOption, with_options
from anetcon.cli.output import Format, FormatOption, Records
from anetcon.cli.people import warn
from anetcon.query.filters import Filters, Span, require_known
from anetcon.store.coverage import Coverage, Question, coverage
from anetcon.store.reader import Rows, Store


@with_options(Filters, Span)
def search(
    filters: Filters,
    span: Span,
    limit: LimitOption = 100,
    *,
    store: StoreOption,
    form: FormatOption = Format.TABLE,
) -> None:
    """Find connections by any field.

    Prints the connections that were open at some time between --since and --until, sorted by start. If a filter is
    given twice, either value will do; different filters must all hold.

    Exit status 0: something is found. 1: nothing is found, and the record is complete. 3: nothing is found, and the
    record has gaps there.
    """
    since, until = span.bounds()
    view = Store(store)
    condition, result = filters.condition(), filters.result()

    def answered() -> tuple[Coverage, Rows, list[str]]:
        require_known(view, filters.netns, filters.node)
        covered = coverage(view, Question(since, until, filters.netns or (), filters.node or ()))
        rows = view.connections(condition, since, until, result, limit and limit + 1)
        anywhere = replace(filters, netns=None).condition(), result
        return covered, rows, answer.unplaced(view, covered, filters.netns or (), anywhere, since, until)

    covered, rows, beside = view.whole(answered)
    found = _Limited(rows, limit)
    records = Records(
        "connections", form, {"query": span.given() | filters.given(), "coverage": answer.coverage_json(covered)}
    )
    for some in found:
        records.rows(some)
    records.tail = {"truncated": found.cut}
    records.close()
    if form is Format.TABLE:
        answer.print_lines(
            ([""] if found.rows else ["no connection found"])
            + answer.window(covered, found=found.rows > 0)
            + span.notes()
        )
    answer.say_beside(form, covered, found=found.rows > 0)
    if found.cut:
        warn(f"there are more than {limit} connections: --limit 0 shows all")
    warn(*beside, *filter(None, [view.slower]))
    answer.leave(found.rows > 0, covered)


class _Limited:
    """The first rows of a stream; afterwards `rows` says how many there were, `cut` whether there were more."""

    def __init__(self, batches: Iterable[pa.RecordBatch], limit: int) -> None:
        self.rows = 0
        self.cut = False
        self._batches = batches
        self._limit = limit

    def __iter__(self) -> Iterator[pa.Table]:
        for batch in self._batches:
            kept = batch if not self._limit else batch.slice(0, self._limit - self.rows)
            self.cut |= len(kept) < len(batch)
            self.rows += len(kept)
            yield pa.Table.from_batches([kept])
