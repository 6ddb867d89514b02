"""Excel workbooks written by hand, so that each can be wrong in one way."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

from tests.fire.corpus.case import GOOD, PARTLY, REFUSED, Made

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKED = "http://schemas.openxmlformats.org/package/2006/relationships"


def cases() -> Iterator[Made]:
    """The files of this kind."""
    yield from small()
    yield Made("xlsx/006_zip_bomb.xlsx", REFUSED, "EXPANSION_RATIO", book(_rows() + " " * (150 << 20)))


def small() -> Iterator[Made]:
    """Those that are made at once."""
    far = _rows() + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    laughs = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    yield Made("xlsx/000_control_good.xlsx", GOOD, "OK", book(_rows()))
    yield Made("xlsx/001_formulas_uncached.xlsx", PARTLY, "COLUMN_FORMULA", book(_rows("<f>A{r}*2</f><v></v>")))
    yield Made("xlsx/002_many_sheets.xlsx", GOOD, "WARN_MULTIPLE_SHEETS", book(_rows(), sheets=3))
    yield Made(
        "xlsx/004_merged_title.xlsx", REFUSED, "HEADER_MISSING", book(_text(1, "A1", "Report 2024") + _rows(at=2))
    )
    yield Made("xlsx/005_billion_laughs.xlsx", REFUSED, "XLSX_UNSAFE_XML", book(_rows(), before=laughs))
    yield Made("xlsx/008_far_cell.xlsx", REFUSED, "TOO_MANY_CELLS", book(far))
    yield Made("xlsx/900_truncated.xlsx", REFUSED, "XLSX_CORRUPT", book(_rows())[:900])
    yield Made("xlsx/901_many_visible_sheets.xlsx", GOOD, "WARN_MULTIPLE_SHEETS", book(_rows(), sheets=2))


def book(rows: str, sheets: int = 1, before: str = "") -> bytes:
    """A workbook whose first sheet holds these rows; of three sheets the last is hidden."""
    states = ["visible", "visible", "hidden"][:sheets]
    listed = "".join(
        f'<sheet name="Sheet{n}" sheetId="{n}" state="{state}" r:id="rId{n}"/>' for n, state in enumerate(states, 1)
    )
    links = "".join(
        f'<Relationship Id="rId{n + 1}" Type="{LINKS}/worksheet" Target="worksheets/sheet{n + 1}.xml"/>'
        for n in range(sheets)
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("[Content_Types].xml", "<Types/>")
        packed.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{LINKS}"><sheets>{listed}</sheets></workbook>'
        )
        packed.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKED}">{links}</Relationships>')
        for n in range(sheets):
            body = rows if n == 0 else ""
            sheet = f'{before}<worksheet xmlns="{MAIN}"><sheetData>{body}</sheetData></worksheet>'
            packed.writestr(f"xl/worksheets/sheet{n + 1}.xml", sheet)
    return out.getvalue()


def _text(row: int, cell: str, text: str) -> str:
    return f'<row r="{row}"><c r="{cell}" t="inlineStr"><is><t>{text}</t></is></c></row>'


def _rows(second: str = "<v>{n}.5</v>", at: int = 1) -> str:
    names = "".join(
        f'<c r="{letter}{at}" t="inlineStr"><is><t>{name}</t></is></c>'
        for letter, name in zip("ABC", ("a", "b", "label"), strict=True)
    )
    rows = [f'<row r="{at}">{names}</row>']
    for n in range(60):
        r = at + 1 + n
        middle = second.format(n=n, r=r)
        rows.append(
            f'<row r="{r}"><c r="A{r}"><v>{n}</v></c><c r="B{r}">{middle}</c><c r="C{r}"><v>{n % 2}</v></c></row>'
        )
    return "".join(rows)
