"""One set under one split seed as a dataset folder, made by the same code as an upload, in a process of its own.

python -m media.dividing FOLDER-OF-THE-SET[@ROWS] SEED OUT
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from media.sets import VALIDATION, sample, source_of, spec_of
from tables.dividing import cut, digest

from tidemill.core.prepare import prepare
from tidemill.core.spec import Spec


def divide(folder: Path, seed: int, out: Path) -> str:
    """Write the dataset folder; the digest of its rows."""
    name, _, rows = folder.name.partition("@")
    source = source_of(folder.with_name(name))
    with tempfile.TemporaryDirectory() as work:
        path = sample(source, Path(work) / f"{name}.csv")
        prepare(path, path.name, Spec.from_json(spec_of(name, seed)), out, model=name.replace("_", "-"))
    if rows:
        held = max(1, round(int(rows) * VALIDATION / (1 - VALIDATION)))
        cut(out, {"train": int(rows) - held, "validation": held}, seed)
    return digest(out)


if __name__ == "__main__":
    print(divide(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
