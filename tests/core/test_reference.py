"""The reference keeps what training rows looked like, comes back as it was, and never through pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidemill.core import reference
from tidemill.core.errors import BadBundle
from tidemill.core.reference import Reference

RNG = np.random.default_rng(0)


def made(rows: int = 500) -> Reference:
    columns: dict[str, Any] = {
        "size": np.where(RNG.random(rows) < 0.1, np.nan, RNG.normal(size=rows)),
        "颜色": np.array(["red", "blüe", None, "x\x00y"], object)[RNG.integers(0, 4, rows)],
        "empty": np.full(rows, np.nan),
    }
    target = np.array(["no", "yes"], object)[RNG.integers(0, 2, rows)]
    return reference.fit(columns, ("bought", target), ["no", "yes"], RNG.dirichlet([1, 1], rows))


def same(left: Reference, right: Reference) -> bool:
    pairs = zip((*left.columns, left.target, *left.scores), (*right.columns, right.target, *right.scores), strict=True)
    return all({**vars(a), "values": a.values.tolist()} == {**vars(b), "values": b.values.tolist()} for a, b in pairs)


def test_a_reference_comes_back_as_it_was_and_equal_ones_give_equal_bytes(tmp_path: Path) -> None:
    wanted = made()
    for name in ("a.npz", "b.npz"):
        reference.save(tmp_path / name, wanted)
    assert same(reference.load(tmp_path / "a.npz"), wanted)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_quantiles_give_back_the_distribution() -> None:
    values = RNG.gamma(2.0, size=20_000)
    summary = reference.summarise("x", values)
    assert (summary.values[0], summary.values[-1]) == (values.min(), values.max())
    share = np.searchsorted(summary.values, 3.0) / len(summary.values)
    assert share == pytest.approx((values <= 3.0).mean(), abs=0.002)


def test_missing_rows_are_counted_apart() -> None:
    summary = reference.summarise("x", np.array([1.0, np.nan, 3.0, np.inf]))
    assert (summary.rows, summary.missing, summary.values.tolist()) == (4, 2, [1.0, 3.0])
    levels = reference.summarise("x", np.array(["b", "a", None, "b"], object))
    assert (levels.rows, levels.missing, levels.levels, levels.values.tolist()) == (4, 1, ("b", "a"), [2, 1])


def test_levels_beyond_the_limit_are_counted_together() -> None:
    values = np.array([f"level {index}" for index in range(reference.LEVELS + 5)] + ["often"] * 3, object)
    summary = reference.summarise("x", values)
    assert len(summary.levels) == reference.LEVELS
    assert summary.levels[0] == "often"
    assert summary.values.sum() + summary.other == len(values)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"not a zip file"])
def test_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "reference.npz").write_bytes(content)
    with pytest.raises(BadBundle, match="is no reference"):
        reference.load(tmp_path / "reference.npz")


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "reference.npz", about=np.array([{}], object))
    with pytest.raises(BadBundle):
        reference.load(tmp_path / "reference.npz")
