"""holdout.npz: raw test rows and their target, kept in the bundle so that the gate can ask any two versions the same.

Raw columns, not features: another version has another feature program. Categories are codes into levels; names and
levels stand in one JSON text, which keeps every character. No pickle.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from tidemill.core.errors import BadBundle

Array = np.ndarray[Any, Any]
Columns = dict[str, Array]

FORMAT = 1
MAX_ROWS = 20_000  # the standard error of a mean loss hardly shrinks beyond; a few MB


def save(path: Path, columns: Mapping[str, Array], target: Array, *, hashes: Array | None = None) -> int:
    """Write at most MAX_ROWS rows and return how many; of more, those with the smallest hashes (else the first)."""
    kept_n = _kept(len(target), hashes)
    arrays: Columns = {}
    described = []
    for index, (name, values) in enumerate([*columns.items(), ("", target)]):
        arrays[f"c{index}"], levels = _encode(np.asarray(values)[kept_n])
        described.append({"name": name, "levels": levels})
    text = json.dumps({"format": FORMAT, "columns": described})
    np.savez_compressed(path, allow_pickle=False, about=np.frombuffer(text.encode(), np.uint8), **arrays)
    return len(kept_n)


def load(path: Path) -> tuple[Columns, Array]:
    """The columns and the target that `save` wrote; raises BadBundle for anything else."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(stored["about"].tobytes())
            if about["format"] != FORMAT:
                raise ValueError(f"format {about['format']!r}")
            columns = [_decode(stored[f"c{index}"], item["levels"]) for index, item in enumerate(about["columns"])]
    except (OSError, EOFError, ValueError, LookupError, TypeError, BadZipFile, zlib.error) as error:
        raise BadBundle(f"{path.name} holds no test rows: {error}.", remedy="Train the model again.") from error
    names = [item["name"] for item in about["columns"]]
    return dict(zip(names[:-1], columns[:-1], strict=True)), columns[-1]


def _kept(rows: int, hashes: Array | None) -> Array:
    if rows <= MAX_ROWS or hashes is None:
        return np.arange(min(rows, MAX_ROWS))
    return np.sort(np.argsort(hashes, kind="stable")[:MAX_ROWS])


def _encode(values: Array) -> tuple[Array, list[str] | None]:
    """Numbers as they are; texts as codes into sorted levels, missing as -1."""
    if values.dtype.kind in "fiu":
        return values.astype(np.float64), None
    texts = [None if value is None else str(value) for value in values.tolist()]
    levels = sorted({text for text in texts if text is not None})
    code_of = {level: code for code, level in enumerate(levels)}
    return np.array([-1 if text is None else code_of[text] for text in texts], dtype=np.int32), levels


def _decode(stored: Array, levels: list[str] | None) -> Array:
    if levels is None:
        return stored
    known = np.array([*levels, None], dtype=object)  # the code -1 finds the None at the end
    return known[stored]
