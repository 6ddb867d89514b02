"""Recognise a file by its first bytes: what it is, and whether that is what its name says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from tidemill.core.errors import BadTable

TEXT, JSON, PARQUET, XLSX = "csv", "json", "parquet", "xlsx"
GZIP_MAGIC = b"\x1f\x8b"

_BY_EXTENSION = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".psv", ".txt", ".dat", ".data"), TEXT),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), JSON),
    **dict.fromkeys((".parquet", ".pq"), PARQUET),
    **dict.fromkeys((".xlsx", ".xlsm"), XLSX),
}
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", PARQUET),
    (b"PARE", PARQUET),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"%PDF", "pdf"),
    (b"\x89PNG", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
    (b"II*\x00", "image"),
    (b"MM\x00*", "image"),
    (b"\x80\x02", "pickle"),
    (b"\x80\x03", "pickle"),
    (b"\x80\x04", "pickle"),
    (b"\x80\x05", "pickle"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!", "rar"),
    (b"\xd0\xcf\x11\xe0", "xls"),
    (b"ARROW1", "arrow"),
    (b"FEA1", "feather"),
    (b"ORC", "orc"),
    (b"Obj\x01", "avro"),
    (b"SQLite format 3\x00", "sqlite"),
    (b"\x93NUMPY", "npy"),
    (b"\x89HDF", "hdf5"),
    (b"\x7fELF", "program"),
    (b"MZ\x90", "program"),
    (b"{\\rtf", "rtf"),
)
_WORDS = {
    TEXT: "plain text",
    "gzip": "a gzip file",
    "html": "an HTML page",
    "image": "an image",
    "lfs_pointer": "a Git LFS pointer",
    "pdf": "a PDF document",
    "pickle": "a Python pickle",
    "program": "a program",
    "xls": "an Excel workbook",
    "xlsx": "an Excel workbook",
    "zip": "a ZIP archive",
}
_MODELS = frozenset(
    {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".onnx", ".safetensors"}
    | {".h5", ".keras", ".pb", ".tflite", ".gguf", ".mlmodel", ".npy", ".npz"}
)
_HTML = re.compile(rb"<(?:!doctype|html|head|body|table|script|\?xml|svg)", re.IGNORECASE)
_JSON_START = re.compile(rb"(?:\[\s*(?:[\[{\]]|$)|\{\s*(?:\"|\}|$))")


@dataclass(frozen=True)
class Format:
    """What a file is: csv, json, parquet or xlsx, packed with gzip or not."""

    kind: str
    packed: bool


def claimed(filename: str) -> Format | None:
    """What a file's name says it is; None where the name says nothing."""
    suffixes = [suffix.lower() for suffix in PurePath(filename).suffixes]
    packed = bool(suffixes) and suffixes[-1] == ".gz"
    last = suffixes[-2:-1] if packed else suffixes[-1:]
    kind = _BY_EXTENSION.get(last[0]) if last else None
    return Format(kind, packed) if kind else None


def content(head: bytes) -> str:
    """What a file's first bytes are: csv, json, parquet, or the name of something that is no table."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            if kind == "zip" and (b"[Content_Types].xml" in head or b"xl/" in head):
                return XLSX
            return kind
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"version https://git-lfs"):
        return "lfs_pointer"
    if _HTML.match(text):
        return "html"
    return JSON if _JSON_START.match(text) else TEXT


def check_no_model(head: bytes, filename: str) -> None:
    """Refuse what was made to be loaded as a model: such files can run code, and none is ever opened here."""
    if PurePath(filename).suffix.lower() in _MODELS or (claimed(filename) is None and content(head) == "pickle"):
        raise BadTable(
            f"{PurePath(filename).name[:80]} is a model, or a Python pickle, and not data.",
            code="MODEL_UPLOAD_FORBIDDEN",
            remedy="Upload the data that the model was trained on; models from elsewhere are never loaded.",
        )


def check_packing(head: bytes, filename: str) -> bool:
    """Whether the file is to be unpacked; raises BadTable where name and content disagree on that."""
    packed, says = head.startswith(GZIP_MAGIC), PurePath(filename).suffix.lower() == ".gz"
    if packed and not says and claimed(filename) is not None:
        raise _mismatch(filename, "gzip", f"Name it {PurePath(filename).name[:80]}.gz, or unpack it first.")
    if says and not packed:
        raise _mismatch(filename, content(head), "Leave out .gz from the name, or pack the file with gzip.")
    return packed


def choose(head: bytes, filename: str, packed: bool) -> str:
    """The reader for an unpacked file's first bytes: csv, json, parquet or xlsx; raises BadTable for anything else."""
    found, says = content(head), claimed(filename)
    if found == "lfs_pointer":
        raise BadTable(
            "The file is a Git LFS pointer, not the data it points to.",
            code="NOT_DATA_LFS_POINTER",
            remedy="Run git lfs pull and upload the real file.",
        )
    if found == "gzip" and packed:
        raise BadTable("The file is packed with gzip twice.", code="NESTED_COMPRESSION", remedy="Unpack it once.")
    if says is None:
        if found not in (TEXT, JSON, PARQUET, XLSX):
            raise _not_table(found)
        return found
    if found == says.kind or (found == TEXT and says.kind == JSON):
        return says.kind
    raise _mismatch(filename, found, "Upload the table itself, with the extension of its format.")


def _mismatch(filename: str, found: str, remedy: str) -> BadTable:
    name = PurePath(filename).name[:80]
    return BadTable(
        f"{name} holds {_WORDS.get(found, found.upper())}.", code="TYPE_MISMATCH", remedy=remedy, found=found
    )


def _not_table(found: str) -> BadTable:
    return BadTable(
        f"The file is {_WORDS.get(found, found.upper())}, not a table.",
        code=f"NOT_DATA_{found.upper()}",
        remedy="Export the table as CSV, JSON Lines or Parquet.",
        found=found,
    )
