"""`anetcon gaps`: when something could not be recorded, and why."""

from __future__ import annotations

from anetcon.cli import answer
from anetcon.cli.options import NetnsOption, NodeOption, StoreOption, with_options
from anetcon.cli.output import Format, FormatOption, Records
from anetcon.cli.people import warn
from anetcon.query.filters import Span, pattern, require_known
from anetcon.store.coverage import Coverage, Question, coverage
from anetcon.store.reader import Store


@with_options(Span)
def gaps(
    span: Span,
    netns: NetnsOption = None,
    node: NodeOption = None,
    *,
    store: StoreOption,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the gaps: when something could not be recorded, and why.

    Exit status 0: there are gaps. 1: the record is complete.
    """
    since, until = span.bounds()
    question = Question(since, until, [pattern(text) for text in netns or ()], node or (), everything=True)
    view = Store(store)

    def answered() -> Coverage:
        require_known(view, netns, node)
        return coverage(view, question)

    covered = view.whole(answered)
    where = {name: value for name, value in (("netns", netns), ("node", node)) if value}
    claim = {key: said for key, said in answer.coverage_json(covered).items() if key not in ("gaps", "notes")}
    records = Records("gaps", form, {"query": span.given() | where, "coverage": claim})
    records.rows(covered.gaps)
    records.close()
    if form is Format.TABLE:
        answer.print_lines(
            [*([""] if covered.gaps else []), answer.window(covered)[0].removesuffix(":"), *span.notes()]
        )
    answer.say_beside(form, covered, found=False)
    warn(*filter(None, [view.slower]))
    answer.leave(not covered.complete, covered)
