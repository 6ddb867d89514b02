"""One table under one split seed as a dataset folder, made by the same code as an upload, in a process of its own.

python -m tables.dividing FOLDER-OF-THE-SET SEED OUT
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tables.sets import LEARNED, is_large, source_of, spec_of

from tidemill.core import manifest
from tidemill.core.prepare import load_split, prepare, read_schema
from tidemill.core.prepare.hashing import mix
from tidemill.core.prepare.shards import HASH
from tidemill.core.spec import Spec


def divide(folder: Path, seed: int, out: Path) -> str:
    """Write the dataset folder; the digest of its rows."""
    path = source_of(folder)
    prepare(path, path.name, Spec.from_json(spec_of(folder, seed)), out, model=folder.name.replace("_", "-"))
    if is_large(folder):
        cut(out, LEARNED, seed)
    return digest(out)


def cut(dataset: Path, kept: Mapping[str, int], seed: int) -> None:
    """Keep so many rows of these splits, others for another seed: those with the smallest hashes mixed with it."""
    for split, count in kept.items():
        first, *others = sorted(dataset.glob(f"{split}-*.parquet"))
        table = pq.read_table([first, *others], partitioning=None)
        order = mix(table[HASH].to_numpy() ^ mix(np.array([seed], np.uint64)))
        pq.write_table(table.take(order.argsort(kind="stable")[:count]), first, compression="zstd")
        for path in others:
            path.unlink()
    told = {key: value for key, value in manifest.read(dataset).items() if key not in ("format", "kind", "files")}
    manifest.write(dataset, "dataset", **told)


def digest(dataset: Path) -> str:
    """What makes two runs comparable: the columns, and which rows stand in which split."""
    schema = read_schema(dataset)
    columns = [(column["name"], column["kind"], column["role"]) for column in schema["columns"]]
    found = hashlib.sha256(json.dumps([schema["task"], schema["labels"], columns]).encode())
    for name in ("train", "validation", "test"):
        _, target, hashes = load_split(dataset, name)
        found.update(hashes.tobytes())
        found.update(repr(target.tolist()).encode())
    return found.hexdigest()[:12]


if __name__ == "__main__":
    print(divide(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
