"""Excel workbooks: the first visible sheet is a table; what no spreadsheet program writes is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fire.corpus import workbooks

from tidemill.core.errors import BadTable
from tidemill.core.readers.opening import open_table

MADE = {case.name.rpartition("/")[2]: case for case in workbooks.small()}


@pytest.mark.parametrize("name", [name for name, case in MADE.items() if case.expected == "rejected"])
def test_a_workbook_that_is_none_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(MADE[name].content)
    with pytest.raises(BadTable) as caught:
        open_table(tmp_path / name, name)
    assert caught.value.code == MADE[name].reason and caught.value.remedy


@pytest.mark.parametrize("name", [name for name, case in MADE.items() if case.expected != "rejected"])
def test_the_first_visible_sheet_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(MADE[name].content)
    table = open_table(tmp_path / name, name)
    (chunk,) = table.chunks()
    assert chunk.names == ("a", "b", "label") and len(chunk.rows) == 60
    assert {warned.code for warned in table.warnings} >= {MADE[name].reason} - {"OK"}
