"""Tidemill's program with the settings as constants in it: compiled anew for every configuration."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest import mock

import jax
from searching import ours

from tidemill.training import loop
from tidemill.training.optimizers import Knobs
from tidemill.training.trials import Trial, knobs_of

PACKAGES = ours.PACKAGES
EPOCH = loop.run_chunk.__wrapped__


def with_constants(knobs_c: Knobs) -> Any:
    """The compiled part of the loop, its settings fixed."""

    @partial(jax.jit, static_argnames=("kind", "cut"), donate_argnames=("weights", "moments", "average"))
    def run_chunk(
        kind: Any, cut: Any, weights: Any, moments: Any, average: Any, rows: Any, scale: Any, _: Any, *more: Any
    ) -> Any:
        return EPOCH(kind, cut, weights, moments, average, rows, scale, knobs_c, *more)

    return run_chunk


def one(trial: Trial) -> float:
    """Compile and train one configuration."""
    with mock.patch.object(loop, "run_chunk", with_constants(knobs_of([trial], ours.MOMENTUM))):
        return ours.train([trial])[0]


def compiled_anew(count: int) -> ours.Losses:
    """One after the other."""
    found = [one(trial) for trial in ours.trials_of(count)]
    return lambda: found


WAYS = {"compiled anew": compiled_anew}
