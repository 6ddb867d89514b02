"""What the fuzzers begin with: small good files of every parser, and some that were ever found wanting."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
from tests.core.pictures import drawn, encoded, tarred, zipped
from tests.serving.bundle_factory import columns, rows_of

_CSV = (
    "a,b,c\n1,x,2020-01-01\n2,,2020-01-02\n",
    'a;b\n"1;1";"x\n""y"""\n',
    "a\tb\n1\t2\r\n3\t4\r\n",
    "\ufeffname,wert\nÄ,1,5\nB,2\n",
    "a|b\nnan|-inf\n1e999|0x10\n",
    "1,2\n3,4\n5,6\n",
)
_JSON = (
    '[{"a": 1, "b": [1, {"c": null}]}, {"a": 2.5}]',
    '{"a": 1}\n{"a": "x", "b": true}\n',
    '{"a": [1, 2], "b": ["x", "y"]}',
    '{"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}',
    "[[1, 2], [3, 4]]",
    '{"data": [{"a": "\\ud83d\\ude00", "b": -1e-7}]}',
)
_SPEC = (
    '[data]\ntarget = "income"\nid = ["id"]\ndrop = ["a"]\n',
    '[train]\nfamily = "tabm"\nepochs = 5\nlearning_rate = 0.01\n[search]\nconfigurations = 3\n',
    '[decision]\nfalse_positive = 1\nfalse_negative = 4.5\n[monitor]\nprivate = ["name"]\n',
    "[budget]\nminutes = 1e3\n",
)
_HEAD = 'Content-Disposition: form-data; name="{}"'
_TABLE = {"a": [1, 2, None], "b": ["x", "y", "z"], "c": [[1], [], None], "d": [1.5, float("nan"), None]}


def _parquet() -> list[bytes]:
    made = []
    for options in ({"compression": "snappy"}, {"compression": "gzip", "use_dictionary": False}, {"version": "1.0"}):
        sink = io.BytesIO()
        pq.write_table(pa.table(_TABLE), sink, **options)
        made.append(sink.getvalue())
    return made


def _bodies() -> list[bytes]:
    rows = rows_of(columns(3))
    wishes = ({"rows": rows}, {"row": rows[0]}, {"rows": rows[:1], "interval": 0.9}, {"rows": [{}], "set": 0.5})
    made = [b"p" + json.dumps(wish).encode() for wish in wishes]
    return [*made, b"e" + json.dumps({"rows": rows[:1], "target": ">50K"}).encode()]


def _form(*fields: tuple[str, bytes]) -> bytes:
    parts = [b"--mark\r\n" + _HEAD.format(name).encode() + b"\r\n\r\n" + content + b"\r\n" for name, content in fields]
    return b"".join(parts) + b"--mark--\r\n"


def seeds(parser: str) -> list[bytes]:
    """Small inputs of one parser."""
    small = drawn(1, 8, 6)
    members = {"cat/1.png": encoded(small), "dog/2.txt": b"hello", "labels.csv": b"file,label\ncat/1.png,cat\n"}
    made: dict[str, list[bytes]] = {
        "csv": [text.encode() for text in _CSV] + [_CSV[3].encode("utf-16"), _CSV[3].encode("cp1252", "replace")],
        "json": [text.encode() for text in _JSON],
        "parquet": _parquet(),
        "zip": [zipped(members), zipped(members, 0), zipped({})],
        "tar": [tarred(members), tarred(members, "w:gz"), tarred(members, form=1)],
        "picture": [
            *(encoded(small, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")),
            encoded(drawn(2, 8, 6, grey=True)),
        ],
        "text": [b"hello", "Größe".encode(), "größe".encode("cp1252"), "你好".encode("gb18030"), "x".encode("utf-16")],
        "spec": [text.encode() for text in _SPEC],
        "body": _bodies(),
        "multipart": [
            _form(("picture", encoded(small)), ("interval", b"0.9")),
            _form(("text", b"hello")),
            _form(("text", b"a"), ("text", b"b")),
        ],
    }
    return made[parser]
