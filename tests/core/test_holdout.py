"""Test rows survive the file exactly, and nothing in the file can run code."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core import holdout
from tidemill.core.errors import BadBundle

texts = st.none() | st.text(max_size=5)
floats = st.floats(width=64)


def array_of(cells: list[str | None]) -> np.ndarray:
    return np.array([*cells, None], dtype=object)[:-1]


@settings(max_examples=80, deadline=None)
@given(cells=st.lists(st.tuples(floats, texts, st.text(max_size=3)), min_size=1, max_size=30))
def test_rows_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, cells: list) -> None:
    path = tmp_path_factory.mktemp("holdout") / "holdout.npz"
    numbers, categories, labels = zip(*cells, strict=True)
    columns = {"a number": np.array(numbers), "c/é\x00": array_of(list(categories))}
    assert holdout.save(path, columns, array_of(list(labels))) == len(cells)
    loaded, target = holdout.load(path)
    assert list(loaded) == list(columns)
    assert loaded["a number"].tobytes() == columns["a number"].tobytes()
    assert loaded["c/é\x00"].tolist() == list(categories) and target.tolist() == list(labels)


def test_a_numeric_target_stays_numeric(tmp_path: Path) -> None:
    holdout.save(tmp_path / "h.npz", {"x": np.ones(2)}, np.array([1.5, 2.5]))
    _, target = holdout.load(tmp_path / "h.npz")
    assert target.dtype == np.float64 and target.tolist() == [1.5, 2.5]


def test_of_too_many_rows_those_with_the_smallest_hashes_stay_in_their_order(tmp_path: Path) -> None:
    rows = holdout.MAX_ROWS + 10
    hashes = np.random.default_rng(0).permutation(rows).astype(np.uint64)
    kept = holdout.save(tmp_path / "h.npz", {"x": np.arange(rows, dtype=float)}, np.zeros(rows), hashes=hashes)
    columns, target = holdout.load(tmp_path / "h.npz")
    assert kept == len(target) == holdout.MAX_ROWS
    assert columns["x"].tolist() == [row for row in range(rows) if hashes[row] < holdout.MAX_ROWS]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        holdout.save(tmp_path / name, {"c": array_of(["x", None])}, np.zeros(2))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_pickles_and_damage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.npz"
    np.savez(path, about=np.array([{"format": 1}], dtype=object))
    with pytest.raises(BadBundle, match="holds no test rows"):
        holdout.load(path)
    np.savez(path, about=np.frombuffer(b'{"format": 2}', np.uint8))
    with pytest.raises(BadBundle, match="format 2"):
        holdout.load(path)
    for damaged in (b"", b"PK", _empty_zip()):
        path.write_bytes(damaged)
        with pytest.raises(BadBundle):
            holdout.load(path)


def _empty_zip() -> bytes:
    made = io.BytesIO()
    zipfile.ZipFile(made, "w").close()
    return made.getvalue()
