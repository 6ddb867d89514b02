"""One table under one split seed as a dataset folder, made by the same code as an upload, in a process of its own.

python -m tables.dividing FOLDER-OF-THE-SET SEED OUT
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from tables.sets import sample, source_of, target_of

from tidemill.core.prepare import load_split, prepare, read_schema
from tidemill.core.spec import Spec


def divide(folder: Path, seed: int, out: Path) -> str:
    """Write the dataset folder and, beside its files, the digest of its rows."""
    name = folder.name
    with tempfile.TemporaryDirectory() as work:
        path = sample(source_of(folder), Path(work) / f"{name}.csv")
        spec = Spec.from_json({"data": {"target": target_of(folder)}, "split": {"seed": seed}})
        prepare(path, path.name, spec, out, model=name.replace("_", "-"))
    return digest(out)


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
