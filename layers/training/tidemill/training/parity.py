"""parity.json: the exported files answer as the trained model does, on real rows and at the edges, or no bundle exists.

Answers are compared by their largest difference. Gradients have kinks, where a last bit decides which side a row is
on; explanations are therefore compared by quantiles over rows of the relative distance, pixels also one by one. Where
that is too far, the yardstick is what the net itself makes of weights that differ in their last bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import BadBundle
from tidemill.core.features import Program
from tidemill.training import inputs
from tidemill.training.evaluate import Model
from tidemill.training.explain import (
    EXPLAIN_ROWS,
    Explaining,
    completeness,
    explained_in_blocks,
    spread,
    targets_of,
)
from tidemill.training.inputs import Inputs

Array = NDArray[Any]

BOUND = 1e-4  # largest difference of a probability, or of a value in the target's standard deviations
COMPLETE_BOUND = 1e-3  # of the exported contributions, which are spread to add up
ROWS = 1000
EXPLAINED_ROWS = 64
BATCHES = (1, 2, 3, 7, 64)
FROZEN_ROWS, FROZEN_EXPLAINED, FROZEN_BATCHES = 48, 6, (1, 2, 3)  # of a large net, whose every row costs seconds
ROUNDINGS = 3.0  # as far as this many times what a last bit of every weight does
AT_ALL = {"p50": 0.02, "p90": 0.05, "p99": 0.2, "place_p90": 1e-3}  # beyond, a heat-map would look different
LARGE = 100.0  # in standard deviations of a number


def prove(folder: Path, model: Model, explain: Explaining, program: Program, x_n: Inputs) -> dict[str, Any]:
    """Compare the files in a folder with the model; the content of parity.json, or BadBundle."""
    from tidemill.training.export.parity import session

    batches, most = (FROZEN_BATCHES, FROZEN_ROWS) if model.frozen else (BATCHES, ROWS)
    rows_n = inputs.joined([inputs.taken(x_n, slice(most)), edges(program, x_n)])
    rows, expected_nk = inputs.count(rows_n), model.answers(rows_n, anew=True)
    runner = session(folder / "model.onnx")
    apart = max(
        float(np.abs(_run(runner, rows_n, {}, size, most)[0] - expected_nk[:most]).max()) / model.unit
        for size, most in [*((size, min(64, rows)) for size in batches), (rows, rows)]
    )
    if not apart <= BOUND:
        raise _differs("model.onnx", apart, BOUND)
    told = _prove_explanations(
        session(folder / "explain.onnx"),
        model,
        explain,
        inputs.taken(x_n, slice(FROZEN_EXPLAINED if model.frozen else EXPLAINED_ROWS)),
        batches,
    )
    return {
        "rows": rows,
        "max_abs_difference": apart,
        "unit": "standard deviations of the target" if model.task == "regression" else "probability",
        "bound": BOUND,
        "batches": list(batches),
        **told,
    }


def edges(program: Any, x_n: Inputs) -> Inputs:
    """Inputs that are rare or never come: nothing at all, and as much as there can be."""
    if isinstance(program, Program):
        return _far_rows(program, x_n)
    one = inputs.taken(x_n, slice(1))
    full = jax.tree.map(lambda array: np.full_like(array, 255) if array.dtype == np.uint8 else array, one)
    return inputs.joined([jax.tree.map(np.zeros_like, one), full])


def _far_rows(program: Program, x_nf: Array) -> Array:
    """Rows no table has: all features zero, everything missing, far out on both sides, and each alone far out."""
    width = x_nf.shape[1]
    missing = program.x_of_rows([dict.fromkeys(program.columns)])
    far = [np.zeros((1, width)), np.full((1, width), LARGE), np.full((1, width), -LARGE), x_nf[:1] * LARGE]
    alone = np.zeros((min(width, 32), width))
    np.fill_diagonal(alone, LARGE)
    return np.concatenate([missing, *far, alone]).astype(np.float32)


def _prove_explanations(
    runner: Any, model: Model, explain: Explaining, x_n: Inputs, batches: tuple[int, ...]
) -> dict[str, Any]:
    target_nk = targets_of(model.answers(x_n))
    rows, raw = len(target_nk), explained_in_blocks(explain.run, x_n, target_nk)
    expected_nf = np.asarray(spread(raw)[0])
    far = _Far(np.zeros(rows), np.zeros(rows))
    made: list[Any] = []
    for size, most in [*((size, size) for size in batches), (EXPLAIN_ROWS, rows)]:
        made = _run(runner, x_n, {"target": target_nk}, size, most)
        far = far.or_further(_far(made[0], expected_nf[:most], model.unit))
    found, bounds = far.told(), dict(explain.bounds)
    about: dict[str, Any] = {"rows": rows, **found, "bounds": bounds, **explain.about}
    if explain.nudged and any(not found[name] <= bound for name, bound in bounds.items()):
        nudged_nf = np.asarray(spread(explained_in_blocks(explain.nudged(), x_n, target_nk))[0])
        about["rounding"] = rounding = _far(nudged_nf, expected_nf, model.unit).told()
        bounds.update({name: max(bound, ROUNDINGS * rounding[name]) for name, bound in bounds.items()})
    for name, bound in bounds.items():
        if not found[name] <= min(bound, AT_ALL.get(name, bound)):
            raise _differs(f"explain.onnx ({name} over rows)", found[name], min(bound, AT_ALL.get(name, bound)))
    summed = completeness(tuple(made), model.unit)
    if not summed["p99"] <= COMPLETE_BOUND:
        raise _differs("the sum of explain.onnx (p99 over rows)", summed["p99"], COMPLETE_BOUND)
    return {"explain": about, "completeness": {"before_spreading": completeness(raw, model.unit), "exported": summed}}


class _Far(NamedTuple):
    """How far explanations are from each other: relative to a row's contributions, and at the place furthest off."""

    distance_n: Array
    place_n: Array  # in the answer's unit

    def or_further(self, other: _Far) -> _Far:
        """The larger of both, row by row; the other may have fewer rows."""
        pairs = [(mine.copy(), theirs) for mine, theirs in zip(self, other, strict=True)]
        for mine, theirs in pairs:
            mine[: len(theirs)] = np.maximum(mine[: len(theirs)], theirs)
        return _Far(*(mine for mine, _ in pairs))

    def told(self) -> dict[str, float]:
        """Quantiles over rows."""
        levels = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
        found = {name: float(np.quantile(self.distance_n, level)) for name, level in levels.items()}
        return {**found, "place_p90": float(np.quantile(self.place_n, 0.9))}


def _far(made_nf: Array, expected_nf: Array, unit: float) -> _Far:
    apart_nf = np.abs(made_nf - expected_nf)
    size_n = np.maximum(np.linalg.norm(expected_nf, axis=1), 1e-3 * unit)
    return _Far(np.linalg.norm(apart_nf, axis=1) / size_n, apart_nf.max(1) / unit)


def _run(runner: Any, x_n: Inputs, more: dict[str, Array], size: int, most: int) -> list[Array]:
    """The first rows through a session, in batches of a size."""
    rows = min(most, inputs.count(x_n))
    given = {**inputs.named(x_n), **more}
    parts = [
        runner.run(None, {name: value[at : min(at + size, rows)] for name, value in given.items()})
        for at in range(0, rows, size)
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _differs(what: str, found: float, bound: float) -> BadBundle:
    return BadBundle(
        f"{what} differs from the trained model by {found:.3g}; at most {bound:g} is allowed.",
        code="PARITY",
        remedy="This is a fault of the exporter or of the machine; please report it with the family and the dataset.",
        difference=found if np.isfinite(found) else None,
        bound=bound,
    )
