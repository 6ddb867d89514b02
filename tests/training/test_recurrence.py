"""The recurrence with a gradient of its own computes what the plain loop and JAX's own gradient compute."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tidemill.training.families import words
from tidemill.training.families.recurrence import UNROLLED, states

BATCH, UNITS = 3, 5


def plain(gates_tbg: Any, kernel_dg: Any) -> Any:
    """The textbook's loop."""

    def step(carry: Any, gate_bg: Any) -> Any:
        state, memory = carry
        into, forget, new, out = jnp.split(gate_bg + state @ kernel_dg, 4, axis=-1)
        memory = jax.nn.sigmoid(forget) * memory + jax.nn.sigmoid(into) * jnp.tanh(new)
        state = jax.nn.sigmoid(out) * jnp.tanh(memory)
        return (state, memory), state

    empty = jnp.zeros((gates_tbg.shape[1], kernel_dg.shape[0]))
    return jax.lax.scan(step, (empty, empty), gates_tbg)[1]


def problem(steps: int, *more: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(steps)
    shapes = ((steps, BATCH, 4 * UNITS), (UNITS, 4 * UNITS), (steps, BATCH, UNITS))
    gates, kernel, slope = (jnp.asarray(rng.normal(size=(*more, *shape)), jnp.float32) for shape in shapes)
    return gates, kernel, slope


@pytest.mark.parametrize("steps", [1, UNROLLED - 1, UNROLLED, 3 * UNROLLED, 3 * UNROLLED + 1])
def test_states_and_gradients_are_those_of_the_plain_loop(steps: int) -> None:
    gates, kernel, slope = problem(steps)
    wanted, back = jax.vjp(plain, gates, kernel)
    made, own = jax.vjp(states, gates, kernel)
    assert np.allclose(made, wanted, atol=1e-6)
    for got, expected in zip(own(slope), back(slope), strict=True):
        assert np.allclose(got, expected, atol=1e-5)


def test_members_of_a_population_have_gradients_of_their_own() -> None:
    gates, kernel, slope = problem(8, 2)

    def told(function: Any) -> Any:
        def one(gates: Any, kernel: Any, slope: Any) -> Any:
            return jax.grad(lambda *both: (function(*both) * slope).sum(), (0, 1))(gates, kernel)

        return jax.vmap(one)(gates, kernel, slope)

    for got, expected in zip(told(states), told(plain), strict=True):
        assert np.allclose(got, expected, atol=1e-5)


def test_what_stands_behind_a_text_changes_no_state_before_it() -> None:
    gates, kernel, _ = problem(12)
    assert np.allclose(states(gates, kernel)[:7], states(gates[:7], kernel), atol=1e-6)


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
