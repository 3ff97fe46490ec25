"""What the writer alone promises; that it is read back is test_read's."""

from __future__ import annotations

from pathlib import Path

from anetcon.journal.write import END_OF_STREAM, Writer, schema_bytes, segment_path
from anetcon.record import TABLES, arrow_schema


def test_every_table_has_a_head(tmp_path: Path) -> None:
    """A fresh segment of each table is its schema, and ends as an Arrow stream when it is closed."""
    for table in TABLES:
        Writer(tmp_path / table, table).close()
        assert segment_path(tmp_path / table, 1).read_bytes() == schema_bytes(arrow_schema(table)) + END_OF_STREAM


def test_files_are_not_for_everybody(tmp_path: Path) -> None:
    """Segments are readable by owner and group alone, from their first moment."""
    with Writer(tmp_path, "gaps"):
        assert segment_path(tmp_path, 1).stat().st_mode & 0o777 == 0o640
        assert segment_path(tmp_path, 1, "index").stat().st_mode & 0o777 == 0o640
