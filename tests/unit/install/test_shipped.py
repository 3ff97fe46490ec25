"""What is shipped of documents is what the program says of itself."""

from __future__ import annotations

from anetcon.install.shipped import shipped
from tests.support.rooms import belongs_to
from tools.completion import scripts
from tools.described import described
from tools.manual import pages


@belongs_to("history")
@belongs_to("config.old")
def test_what_is_shipped_is_what_derives_from_the_commands() -> None:
    """Every man page and every shell's completion, as `make docs` writes them, and nothing else."""
    documents, program = shipped(), described()
    assert documents.man == pages(program)
    assert documents.completion == scripts(program)
