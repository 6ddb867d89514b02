"""Parquet files: cut, encrypted, lying, too wide, too long, of types that no table has."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.fire.corpus.case import GOOD, PARTLY, REFUSED, Made

LABEL = [n % 2 for n in range(60)]


def cases() -> Iterator[Made]:
    """The files of this kind."""
    for name, expected, reason, content in [*_broken(), *_bombs(), *_types()]:
        yield Made(f"parquet/{name}.parquet", expected, reason, content)


def written(table: Any, **options: Any) -> bytes:
    """A table as Parquet."""
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def _good() -> Any:
    return pa.table({"a": list(range(60)), "b": [n / 4 for n in range(60)], "label": LABEL})


def _broken() -> Iterator[tuple[str, str, str, bytes]]:
    good = written(_good(), write_page_checksum=True)
    flipped = bytearray(good)
    flipped[60:100] = bytes(byte ^ 0xFF for byte in flipped[60:100])
    noise = np.random.default_rng(1).bytes(500)
    yield "000_control_good", GOOD, "OK", good
    yield "001_truncated", REFUSED, "PARQUET_CORRUPT", good[: len(good) // 2]
    yield "002_bad_magic", REFUSED, "PARQUET_ENCRYPTED", good[:-4] + b"PARE"
    yield "004_corrupt_page", REFUSED, "PARQUET_CORRUPT", bytes(flipped)
    yield "016_footer_length_lie", REFUSED, "PARQUET_CORRUPT", good[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1"
    lied = b"PAR1" + noise + struct.pack("<I", 490) + b"PAR1"
    yield "017_thrift_garbage", REFUSED, "PARQUET_CORRUPT", lied


def _bombs() -> Iterator[tuple[str, str, str, bytes]]:
    out = io.BytesIO()
    zeros = pa.table({"a": np.zeros(1_000_000, np.int64), "label": np.zeros(1_000_000, np.int8)})
    with pq.ParquetWriter(out, zeros.schema) as writer:
        for _ in range(20):
            writer.write_table(zeros)
    yield "005_row_bomb", REFUSED, "TOO_MANY_ROWS", out.getvalue()
    text = pa.table({"t": ["x" * (200 << 20)], "label": [1]})
    yield "006_string_bomb", REFUSED, "EXPANSION_RATIO", written(text, compression="zstd", use_dictionary=False)
    wide = pa.table({f"c{n}": [0, 1] for n in range(20_000)})
    yield "012_wide_20k", REFUSED, "TOO_MANY_COLUMNS", written(wide)


def _types() -> Iterator[tuple[str, str, str, bytes]]:
    count = range(60)
    nested = pa.table({"a": [[n] for n in count], "s": [{"x": n} for n in count], "b": list(count), "label": LABEL})
    twice = pa.Table.from_arrays([pa.array(count), pa.array(count), pa.array(LABEL)], names=["a", "a", "label"])
    odd = pa.table(
        {
            "dec": pa.array([n / 10 for n in count], pa.float64()).cast(pa.decimal128(3, 2)),
            "ts": pa.array([1_700_000_000_000_000 + n * 10**9 for n in count], pa.timestamp("us", "UTC")),
            "dur": pa.array(count, pa.int64()).cast(pa.duration("us")),
            "bin": [bytes([n]) for n in count],
            "label": LABEL,
        }
    )
    wild = [float("nan") if n == 3 else float("inf") if n == 5 else n / 2 for n in count]
    # The shape of a pickle in metadata; it would print, and never does.
    pickled = b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00cbuiltins\nprint\n."
    metadata = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickled}
    fields = [pa.field("a", pa.int64(), metadata=metadata), pa.field("label", pa.int64())]
    extended = pa.Table.from_arrays([pa.array(count), pa.array(LABEL)], schema=pa.schema(fields))
    yield "008_nested", PARTLY, "COLUMN_NESTED", written(nested)
    yield "009_dup_columns", PARTLY, "COLUMN_DUPLICATE_NAME", written(twice)
    yield "010_odd_types", PARTLY, "COLUMN_UNSUPPORTED_TYPE", written(odd)
    yield "013_nan_inf", PARTLY, "VALUE_NOT_FINITE", written(pa.table({"a": wild, "label": LABEL}))
    yield "014_py_extension_pickle", REFUSED, "PARQUET_EXTENSION_TYPE", written(extended)
