"""The recurrence is the textbook's, what stands behind a text changes nothing, and many rows may be taken in parts."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tidemill.training.families import words
from tidemill.training.families.recurrence import states

BATCH, INPUTS, UNITS = 3, 4, 5


def problem(steps: int) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(steps)
    shapes = ((steps, BATCH, INPUTS), (INPUTS, 4 * UNITS), (4 * UNITS,), (UNITS, 4 * UNITS))
    return tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)


def plain(inputs: Any, seen: Any, bias: Any, kept: Any) -> Any:
    """The textbook's loop, in NumPy."""

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    state, memory, found = np.zeros((BATCH, UNITS)), np.zeros((BATCH, UNITS)), []
    for input_be in np.asarray(inputs, np.float64):
        into, forget, new, out = np.split(input_be @ np.asarray(seen) + bias + state @ np.asarray(kept), 4, axis=-1)
        memory = sigmoid(forget) * memory + sigmoid(into) * np.tanh(new)
        state = sigmoid(out) * np.tanh(memory)
        found.append(state)
    return np.stack(found)


@pytest.mark.parametrize("steps", [1, 7])
def test_states_are_those_of_the_plain_loop(steps: int) -> None:
    given = problem(steps)
    assert np.allclose(states(*given), plain(*given), atol=1e-5)


def test_what_stands_behind_a_text_changes_no_state_before_it() -> None:
    inputs, *kernels = problem(12)
    assert np.allclose(states(inputs, *kernels)[:7], states(inputs[:7], *kernels), atol=1e-6)


def test_many_rows_are_taken_in_parts_and_give_the_same() -> None:
    rng = np.random.default_rng(0)
    rows, weights = (
        jnp.asarray(rng.normal(size=(11, 4)), jnp.float32),
        jnp.asarray(rng.normal(size=(11, 1)), jnp.float32),
    )

    def told(row_bd: Any, weight_b1: Any) -> Any:
        return jnp.tanh(row_bd).sum(1) * weight_b1[:, 0]

    for most in (0, 1, 4, 11, 64):
        assert np.allclose(words.by_rows(told, most, rows, weights), told(rows, weights), atol=1e-6)
