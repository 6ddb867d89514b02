"""holdout.npz: raw test rows and their target, kept in the bundle so that the gate can ask any two versions the same.

Raw columns, not features: another version has another feature program. Categories and texts are codes into levels;
names and levels stand in one JSON text, which keeps every character. Pictures are bytes one after the other, with
where each ends. No pickle.
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
MAX_BYTES = 32 << 20  # of pictures: what the gate reads within seconds


def save(path: Path, columns: Mapping[str, Array], target: Array, *, hashes: Array | None = None) -> int:
    """Write at most MAX_ROWS rows and return how many; of more, those with the smallest hashes (else the first)."""
    kept_n = _kept(columns, len(target), hashes)
    arrays: Columns = {}
    described: list[dict[str, Any]] = []
    for index, (name, values) in enumerate([*columns.items(), ("", target)]):
        chosen_n = np.asarray(values)[kept_n]
        if len(chosen_n) and isinstance(chosen_n[0], bytes):
            arrays[f"c{index}"] = np.frombuffer(b"".join(chosen_n.tolist()), np.uint8)
            arrays[f"e{index}"] = np.cumsum([len(value) for value in chosen_n])
            described.append({"name": name, "levels": None, "bytes": True})
        else:
            arrays[f"c{index}"], levels = _encode(chosen_n)
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
            columns = [
                _cut(stored[f"c{index}"], stored[f"e{index}"])
                if item.get("bytes")
                else _decode(stored[f"c{index}"], item["levels"])
                for index, item in enumerate(about["columns"])
            ]
    except (OSError, EOFError, ValueError, LookupError, TypeError, BadZipFile, zlib.error) as error:
        raise BadBundle(f"{path.name} holds no test rows: {error}.", remedy="Train the model again.") from error
    names = [item["name"] for item in about["columns"]]
    return dict(zip(names[:-1], columns[:-1], strict=True)), columns[-1]


def _kept(columns: Mapping[str, Array], rows: int, hashes: Array | None) -> Array:
    """Rows in their order: as many as the limits allow, those with the smallest hashes first."""
    order = np.arange(rows) if hashes is None else np.argsort(hashes, kind="stable")
    size_n = np.zeros(rows, np.int64)
    for values in columns.values():
        if rows and isinstance(values[0], bytes):
            size_n += [len(value) for value in values]
    fitting = int(np.searchsorted(np.cumsum(size_n[order]), MAX_BYTES, side="right"))
    return np.sort(order[: min(MAX_ROWS, max(fitting, 1))])


def _cut(stored: Array, ends: Array) -> Array:
    """Bytes as they were before they were put one after the other."""
    whole, found = stored.tobytes(), np.empty(len(ends), dtype=object)
    found[:] = [whole[start:end] for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]
    return found


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
