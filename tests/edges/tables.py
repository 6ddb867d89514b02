"""The edges of tables: their files, rows, columns, cells and classes."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tests.edges.edge import Edge, code_of
from tests.fire.corpus.workbooks import book

from tidemill.core.limits import limit
from tidemill.core.prepare import Prepared, prepare
from tidemill.core.readers.chunks import Chunk
from tidemill.core.readers.opening import open_table
from tidemill.core.readers.text_members import TextMembers
from tidemill.core.spec import Spec

WORDS = ("yes", "no")
GOOD = pa.table({"x": [1], "t": ["a"]})


def dataset(content: bytes | str, folder: Path, name: str = "table.csv", **sections: Any) -> Prepared:
    """The content as a data set."""
    data = content.encode() if isinstance(content, str) else content
    return prepare(io.BytesIO(data), name, Spec.from_json(sections), folder / "dataset", model="edge")


def chunks(content: bytes | str, folder: Path, name: str = "table.csv") -> list[Chunk]:
    """The content as the reader gives it."""
    path = folder / "upload"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    table = open_table(path, name)  # a workbook lives as long as its table
    return list(table.chunks())


def told(made: Prepared) -> str:
    """What was set aside, or else noticed; the warning about the split of small tables is none of the edge."""
    warned = [item["code"] for item in made.profile["warnings"] if item["code"] != "SPLIT_NOT_BY_CONTENT"]
    return next(iter([*made.profile["quarantined"], *warned]), "")


def table(rows: int = 60, header: str = "x,label", row: Callable[[int], str] | None = None) -> str:
    """A number that varies, and a label of two."""
    make = row or (lambda n: f"{n * 7919 % 1000 / 8},{WORDS[n % 2]}")
    return "\n".join([header, *map(make, range(rows))]) + "\n"


def padded(size: int, text: str = "") -> bytes:
    """A table of exactly so many bytes: empty lines are no rows."""
    made = (text or table()).encode()
    return made + b"\n" * (size - len(made))


def packed(content: bytes, size: int = 0) -> bytes:
    """The content in gzip, filled up to so many bytes by a field of its header that nobody reads."""
    packer = zlib.compressobj(9, wbits=-15)
    body = packer.compress(content) + packer.flush() + struct.pack("<LL", zlib.crc32(content), len(content))
    if not size:
        return gzip.compress(content)
    spare = size - len(body) - 12
    return b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", spare) + bytes(spare) + body


def ratio(times: int, folder: Path) -> str:
    """10,000 bytes that unpack to so many times as many; past the limit, to one byte more than it allows."""
    most = limit("expansion_ratio")
    content = padded(10_000 * min(times, most) + (times > most))
    return code_of(lambda: chunks(packed(content, 10_000), folder, "table.csv.gz"))


def unpacked(size: int, folder: Path) -> str:
    return code_of(lambda: chunks(packed(padded(size)), folder, "table.csv.gz"))


def columns(count: int, folder: Path) -> str:
    line = ",".join(["1"] * count)
    return code_of(lambda: chunks(table(60, ",".join(f"c{n}" for n in range(count)), lambda n: line), folder))


def cell(text: str, folder: Path) -> str:
    """What is said of a table one of whose cells is this text."""
    found = chunks(table(60, "x,label", lambda n: f"{text if n == 7 else n},yes"), folder)
    return next((row.code for chunk in found for row in chunk.bad), "")


def header(size: int, folder: Path) -> str:
    """A first line of so many characters, which is bounded before it is cut into names."""
    return code_of(lambda: chunks("x" * (size - 2) + ",y\n1,2\n", folder))


def parquet(folder: Path, of: Callable[[Any], int], size: int, about: bool = False) -> str:
    """A Parquet file whose footer (`about`) or whose one row group has exactly so many bytes."""

    def made(pad: int) -> bytes:
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, GOOD.schema, compression="none", use_dictionary=False) as writer:
            writer.write_table(pa.table({"x": list(range(60)), "t": ["a" * (0 if about else pad), *"b" * 59]}))
            writer.add_key_value_metadata({"k": "a" * (pad if about else 0)})
        return sink.getvalue()

    pad = size - of(made(0))
    pad += size - of(made(pad))
    assert of(made(pad)) == size
    return code_of(lambda: chunks(made(pad), folder, "table.parquet"))


def footer(size: int, folder: Path) -> str:
    return parquet(folder, lambda data: struct.unpack("<L", data[-8:-4])[0], size, about=True)


def group(size: int, folder: Path) -> str:
    def of(data: bytes) -> int:
        return int(pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).total_byte_size)

    return parquet(folder, of, size)


def sheet(cells: int, folder: Path) -> str:
    """A sheet of so many cells, up to its last."""
    width = next(width for width in (2, 3, 5, 7) if cells % width == 0)
    letters = "ABCDEFG"[:width]
    named = "".join(f'<c r="{letter}1" t="inlineStr"><is><t>{letter}</t></is></c>' for letter in letters)
    rows = "".join(
        f'<row r="{r}">' + "".join(f'<c r="{letter}{r}"><v>{r}</v></c>' for letter in letters) + "</row>"
        for r in range(2, cells // width + 1)
    )
    return code_of(lambda: chunks(book(f'<row r="1">{named}</row>{rows}'), folder, "table.xlsx"))


def nested(levels: int, folder: Path) -> str:
    inside = '{"k":' * (levels - 1) + "1" + "}" * (levels - 1)
    return code_of(lambda: chunks(f"[{inside}]", folder, "table.json"))


def document(size: int, folder: Path) -> str:
    """Columns of values, which are no list of records, in so many characters."""
    made = '{"x": [1, 2, 3], "label": ["a", "b", "a"]'
    return code_of(lambda: chunks(made + " " * (size - len(made) - 1) + "}", folder, "table.json"))


def rows_at_once(rows: int, folder: Path) -> str:
    return "in two pieces" if len(chunks(table(rows), folder)) > 1 else ""


def piece(size: int, folder: Path) -> str:
    """Two texts, of which the first leaves room for one byte in `size`."""
    texts = [(1, "a.txt", b"x" * (size - 1)), (2, "b.txt", b"y")]
    return "in two pieces" if len(list(TextMembers(lambda: texts, lambda *_: "a").chunks())) > 1 else ""


def label_rows(count: int, folder: Path) -> str:
    """A class of so many rows beside two of thirty."""
    return told(dataset(table() + "".join(f"{n}.5,rare\n" for n in range(count)), folder))


def labels(count: int, folder: Path) -> str:
    made = table(2 * count, "x,label", lambda n: f"{n * 7919 % 1009 / 8},k{n // 2}")
    return code_of(lambda: dataset(made, folder, data={"task": "multiclass"}))


def words(count: int, folder: Path, each: int = 4) -> str:
    """A column of so many different words, each four times: whether all are told apart."""
    made = table(each * count, "w,x,label", lambda n: f"w{n % count},{n % 17},{WORDS[n * 7919 % 13 % 2]}")
    (column,) = [item for item in dataset(made, folder).schema["columns"] if item["name"] == "w"]
    return str(column["reason"] or ("rare" if column["rare"] else ""))


def words_together(count: int, folder: Path) -> str:
    """Two columns of so many different words together."""
    first, second = count // 2, count - count // 2
    made = table(4 * count, "v,w,label", lambda n: f"v{n % first},w{n % second},{WORDS[n * 7919 % 13 % 2]}")
    return code_of(lambda: dataset(made, folder))


def kept_of_a_bad_row(size: int, folder: Path) -> str:
    """What is kept of a row with one field where two are due."""
    found = chunks(table(60, "x,label", lambda n: "r" * size if n == 7 else f"{n},yes"), folder)
    ((bad,),) = [chunk.bad for chunk in found]
    return "" if len(bad.text) == size else f"cut to {len(bad.text)}"


def kept_of_a_value(size: int, folder: Path) -> str:
    """What the profile shows of a value."""
    made = dataset(table(60, "w,x,label", lambda n: f"{'w' * size if n % 3 else 'v'},{n},{WORDS[n % 2]}"), folder)
    shown = made.profile["columns"]["w"]["top"][0]["value"]
    return "" if len(shown) == size else f"cut to {len(shown)}"


def sentences(count: int, folder: Path) -> str:
    made = table(count, "t,label", lambda n: f"A {WORDS[n % 2]} story about number {n},{WORDS[n % 2]}")
    return code_of(lambda: dataset(made, folder, data={"text": "t"}))


def long_text(size: int, folder: Path) -> str:
    long = "once upon a time ".ljust(size, "x")
    made = table(60, "t,label", lambda n: f"{long if n == 7 else f'A tale of {n}'},{WORDS[n % 2]}")
    return told(dataset(made, folder, data={"text": "t"}))


EDGES = {
    "upload": Edge(lambda n, at: code_of(lambda: dataset(padded(n), at)), "FILE_TOO_LARGE", small=3_000),
    "expansion_ratio": Edge(ratio, "EXPANSION_RATIO", small=3, others={"expansion_floor": 1}),
    "expansion_floor": Edge(unpacked, "EXPANSION_RATIO", small=50_000, others={"expansion_ratio": 1}),
    "expanded": Edge(unpacked, "EXPANSION_SIZE", small=50_000, others={"expansion_ratio": 1 << 20}),
    "columns": Edge(columns, "TOO_MANY_COLUMNS"),
    "rows": Edge(lambda n, at: code_of(lambda: dataset(table(n), at)), "TOO_MANY_ROWS", small=100),
    "line": Edge(header, "LINE_TOO_LONG", at="COLUMN_NAME_TOO_LONG"),
    "field": Edge(lambda n, at: cell("x" * n, at), "ROW_FIELD_TOO_LONG"),
    "marks": Edge(lambda n, at: cell("e" + "\u0301" * n, at), "ROW_FIELD_TOO_LONG"),
    "column_name": Edge(lambda n, at: code_of(lambda: chunks(table(60, "x" * n + ",l"), at)), "COLUMN_NAME_TOO_LONG"),
    "parquet_footer": Edge(footer, "TOO_MANY_COLUMNS", small=20_000),
    "parquet_group": Edge(group, "PARQUET_GROUP_TOO_LARGE", small=20_000),
    "sheet_cells": Edge(sheet, "TOO_MANY_CELLS", small=201),
    "json_depth": Edge(nested, "JSON_DEPTH"),
    "json_document": Edge(document, "JSON_TOO_LARGE", small=2_000),
    "chunk_rows": Edge(rows_at_once, "in two pieces", small=70),
    "chunk": Edge(piece, "in two pieces", small=100),
    "good_rows": Edge(lambda n, at: code_of(lambda: dataset(table(n), at)), "TOO_FEW_ROWS", step=-1),
    "good_texts": Edge(sentences, "TOO_FEW_ROWS", step=-1),
    "classes": Edge(labels, "TARGET_TOO_MANY_CLASSES"),
    "class_rows": Edge(label_rows, "CLASS_TOO_SMALL", step=-1),
    "levels": Edge(words, "rare"),
    "distinct_levels": Edge(words, "identifier", small=60),
    "level_budget": Edge(words_together, "TOO_MANY_LEVELS", small=60),
    "quarantine_text": Edge(kept_of_a_bad_row, "cut to 2000"),
    "reason_text": Edge(kept_of_a_value, "cut to 200"),
    "text": Edge(long_text, "ROW_FIELD_TOO_LONG"),
}  # fmt: skip
