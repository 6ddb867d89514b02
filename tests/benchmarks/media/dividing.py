"""One set under one split seed as a dataset folder, made by the same code as an upload, in a process of its own.

python -m media.dividing FOLDER-OF-THE-SET[@ROWS] SEED OUT
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from media.sets import VALIDATION, sample, source_of, spec_of
from tables.dividing import digest

from tidemill.core import manifest
from tidemill.core.prepare import prepare
from tidemill.core.prepare.shards import HASH
from tidemill.core.spec import Spec


def divide(folder: Path, seed: int, out: Path) -> str:
    """Write the dataset folder; the digest of its rows."""
    name, _, rows = folder.name.partition("@")
    source = source_of(folder.with_name(name))
    with tempfile.TemporaryDirectory() as work:
        path = sample(source, Path(work) / f"{name}.csv")
        prepare(path, path.name, Spec.from_json(spec_of(name, seed)), out, model=name.replace("_", "-"))
    if rows:
        cut(out, int(rows))
    return digest(out)


def cut(dataset: Path, rows: int) -> None:
    """Keep so many rows to learn from, those with the smallest hashes; validation has its share of them."""
    held = max(1, round(rows * VALIDATION / (1 - VALIDATION)))
    kept = {"train": rows - held, "validation": held}
    for split, count in kept.items():
        first, *others = sorted(dataset.glob(f"{split}-*.parquet"))
        table = pq.read_table(first, partitioning=None)
        pq.write_table(table.take(_smallest(table, count)), first, compression="zstd")
        for path in others:
            path.unlink()
    told = {key: value for key, value in manifest.read(dataset).items() if key not in ("format", "kind", "files")}
    manifest.write(dataset, "dataset", **told)


def _smallest(table: Any, count: int) -> Any:
    return table[HASH].to_numpy().argsort(kind="stable")[:count]


if __name__ == "__main__":
    print(divide(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
