"""The Parquet shards of a dataset: written in bounded pieces, read back as columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.core.errors import BadBundle
from tidemill.core.prepare.split import SPLITS

HASH, ROW = "__hash", "__row"
SHARD_ROWS = 1_000_000
_OBJECTS = ("category", "text", "picture")  # kinds whose cells are str or bytes
_BUFFER_ROWS, _BUFFER_BYTES = 100_000, 32 << 20


def arrow_schema(columns: list[tuple[str, bool]]) -> Any:
    """The schema of the shards of columns, each with whether it is text."""
    fields = [(name, pa.string() if text else pa.float64()) for name, text in columns]
    return pa.schema([*fields, (ROW, pa.int64()), (HASH, pa.uint64())])


def batch_of(columns: dict[str, Any], schema: Any) -> Any:
    """Columns as rows of a shard."""
    arrays = [columns[name] for name in schema.names]
    plain = [a.dictionary_decode() if isinstance(a, pa.DictionaryArray) else a for a in arrays]
    return pa.RecordBatch.from_arrays(plain, schema=schema)


class ShardWriter:
    """Writes the rows of each split into files of at most a million rows."""

    def __init__(self, folder: Path, schema: Any) -> None:
        self._folder, self._schema = folder, schema
        self._writers: dict[str, Any] = {}
        self._rows = dict.fromkeys(SPLITS, 0)
        self._buffers: dict[str, list[Any]] = {split: [] for split in SPLITS}

    def add(self, batch: Any, splits: np.ndarray) -> None:
        """Add rows; `splits` says where each goes."""
        for place, split in enumerate(SPLITS):
            part = batch.filter(pa.array(splits == place))
            if part.num_rows:
                self._buffers[split].append(part)
                buffered = self._buffers[split]
                rows, size = sum(p.num_rows for p in buffered), sum(p.nbytes for p in buffered)
                if rows >= _BUFFER_ROWS or size >= _BUFFER_BYTES:
                    self._flush(split)

    def _flush(self, split: str) -> None:
        if not self._buffers[split]:
            return
        table = pa.Table.from_batches(self._buffers[split])
        self._buffers[split] = []
        while table.num_rows:
            room = SHARD_ROWS - self._rows[split] % SHARD_ROWS
            self._writer(split).write_table(table.slice(0, room))
            self._rows[split] += min(room, table.num_rows)
            table = table.slice(room)

    def _writer(self, split: str) -> Any:
        name = f"{split}-{self._rows[split] // SHARD_ROWS:05d}.parquet"
        if name not in self._writers:
            self._close(split)
            self._writers[name] = pq.ParquetWriter(self._folder / name, self._schema, compression="zstd")
        return self._writers[name]

    def _close(self, split: str) -> None:
        for name in [name for name in self._writers if name.startswith(split + "-")]:
            self._writers.pop(name).close()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for split in SPLITS:
            if kind is None:
                self._flush(split)
                if not self._rows[split]:
                    self._writer(split)
            self._close(split)


def read_schema(folder: Path) -> dict[str, Any]:
    """The schema of a dataset folder; raises BadBundle where there is none."""
    try:
        schema: dict[str, Any] = json.loads((folder / "schema.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadBundle(f"{folder.name} has no readable schema.json.", remedy="Prepare the dataset again.") from error
    return schema


def load_split(folder: Path, split: str) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """One split of a dataset: feature columns, the target (text or float64), and the row hashes.

    Rows are in the order of their hashes where the specification shuffles, else in file order.
    """
    if split not in SPLITS:
        raise ValueError(f"{split!r} is not a split; choose one of {', '.join(SPLITS)}")
    schema = read_schema(folder)
    features = [column for column in schema["columns"] if column["role"] == "feature"]
    names = [*(column["name"] for column in features), schema["target"], HASH, ROW]
    table = pa.concat_tables(pq.read_table(path, columns=names, partitioning=None) for path in _files(folder, split))
    hashes, target = table[HASH].to_numpy(), _array(table[schema["target"]], schema["task"] != "regression")
    columns = {item["name"]: _array(table[item["name"]], item["kind"] in _OBJECTS) for item in features}
    order = _order(schema, hashes, target, table[ROW].to_numpy())
    if order is None:
        return columns, target, hashes
    return {name: values[order] for name, values in columns.items()}, target[order], hashes[order]


def load_groups(folder: Path, split: str) -> dict[str, np.ndarray]:
    """The columns that [data] groups names, whether features or not, in the order of the rows of `load_split`.

    Text (None: missing) or float64 (NaN: missing); no columns where the specification asks for none.
    """
    schema = read_schema(folder)
    asked = [column for column in schema["columns"] if column.get("group")]
    if not asked:
        return {}
    names = [*(column["name"] for column in asked), schema["target"], HASH, ROW]
    table = pa.concat_tables(pq.read_table(path, columns=names, partitioning=None) for path in _files(folder, split))
    target = _array(table[schema["target"]], schema["task"] != "regression")
    order = _order(schema, table[HASH].to_numpy(), target, table[ROW].to_numpy())
    columns = {item["name"]: _array(table[item["name"]], item["kind"] in ("category", "text")) for item in asked}
    return columns if order is None else {name: values[order] for name, values in columns.items()}


def _order(schema: dict[str, Any], hashes: np.ndarray, target: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    if schema.get("shuffle", "hash") != "hash":
        return None
    ties = np.unique(target, return_inverse=True)[1] if target.dtype == object else target
    return np.lexsort((rows, ties, hashes))


def _files(folder: Path, split: str) -> Iterator[Path]:
    found = sorted(folder.glob(f"{split}-*.parquet"))
    if not found:
        raise BadBundle(f"{folder.name} has no {split} shards.", remedy="Prepare the dataset again.")
    return iter(found)


def _array(column: Any, text: bool) -> np.ndarray:
    if text:
        return np.asarray(column.to_pylist(), dtype=object)
    return np.ascontiguousarray(column.to_numpy(), dtype=np.float64)
