"""Models of a few parts to be explained, and the Shapley values that explanations are held to."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from tests.training.populations import Problem, members

from tidemill.core.calibration import Calibration
from tidemill.training import explain
from tidemill.training.evaluate import Model, Part
from tidemill.training.loop import Pace
from tidemill.training.losses import scale_of

LONG = Pace(12, 12)
MOVED = 0.3  # standard deviation of what is added to each weight
BACKGROUND = range(100, 132)


def part_of(
    case: Problem, family: str, place: int = 0, folds: int = 1, share: float = 1.0, moved: float = MOVED
) -> Part:
    """Nets with a member for every fold, moved at random from where training would start: as bent, sooner there."""
    population = members(case, family=family, copies=folds, seed=place)
    rng = np.random.default_rng(place)

    def changed(path: Any, leaf: Any) -> Any:
        fixed = "edges" in jax.tree_util.keystr(path)
        return np.asarray(leaf[:, 0] + (0 if fixed else rng.normal(0, moved, leaf[:, 0].shape)), np.float32)

    weights = jax.tree_util.tree_map_with_path(changed, population.start().weights)
    return Part(f"{family}-{place}", population.kind, weights, share)


def trained_part(case: Problem, family: str, share: float = 1.0) -> Part:
    """A configuration that has learned most of what there is."""
    population = members(case, {"learning_rate": 1e-2}, family=family, pace=LONG)
    weights = jax.tree.map(lambda leaf: np.asarray(leaf[:, 0]), population.train().best)
    return Part(family, population.kind, weights, share)


def model_of(case: Problem, *parts: Part, calibration: Calibration | None = None) -> Model:
    """A blend of parts."""
    regression = case.config.task == "regression"
    scale = scale_of(case.y_n, log1p=case.config.log1p)
    return Model(parts, scale, float(case.y_n.std()) if regression else 1.0, calibration or Calibration())


def explained(
    case: Problem, model: Model, x_nf: Any, target_nk: Any, background: range = BACKGROUND
) -> explain.Explained:
    """Contributions, not yet spread, from some of the problem's rows."""
    return explain.explained_in_blocks(_explainer(case, model, background), x_nf, target_nk)


@lru_cache(maxsize=64)
def _explainer(case: Problem, model: Model, background: range) -> explain.Explainer:
    return explain.explainer(model, case.x_nf[background])


def shapley(model: Model, x_f: Any, target_k: Any, background_bf: Any) -> Any:
    """Exact Shapley values over all subsets, absent features taken from the background."""
    f = len(x_f)
    subsets = list(itertools.product([0, 1], repeat=f))
    mixed = np.concatenate([np.where(np.array(s, bool), x_f, background_bf) for s in subsets]).astype(np.float32)
    worth = dict(zip(subsets, (model.answers(mixed) @ target_k).reshape(len(subsets), -1).mean(1), strict=True))
    value_f = np.zeros(f)
    for s, feature in itertools.product(subsets, range(f)):
        if not s[feature]:
            weight = math.factorial(sum(s)) * math.factorial(f - sum(s) - 1) / math.factorial(f)
            value_f[feature] += weight * (worth[(*s[:feature], 1, *s[feature + 1 :])] - worth[s])
    return value_f
