"""The recurrence of an LSTM (Hochreiter and Schmidhuber 1997) with a gradient of its own, faster than JAX's.

What the loop over time computes is kept small: inputs are multiplied before it, the gradient of the recurrent kernel is
one product of all steps behind it (JAX would add up a product for every step), and what going back multiplies with
is made ready outside, so that a step back is a product of matrices and a few multiplications.

Padding stands behind the tokens of a text and changes no state before it: steps need no mask, their users do.

Axes: t steps, b batch rows, d units, g = 4d gates side by side: in, forget, new, out.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tidemill.training.families import words

Carry = tuple[jax.Array, jax.Array]  # state and memory, or their slopes
Ready = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]
UNROLLED = 4  # steps of the loop in a turn: fewer turns, fewer copies of what is carried


class Kept(NamedTuple):
    """What the way back needs of the way forth."""

    kernel_dg: jax.Array
    opened_tbg: jax.Array  # gates behind their bends
    memory_tbd: jax.Array
    state_tbd: jax.Array


@jax.custom_vjp
def states(gates_tbg: jax.Array, kernel_dg: jax.Array) -> jax.Array:
    """The states [t, b, d] of all steps, from zero; `gates` is what inputs and biases say of the gates."""
    return _forth(gates_tbg, kernel_dg)[0]


def _forth(gates_tbg: jax.Array, kernel_dg: jax.Array) -> tuple[jax.Array, Kept]:
    empty = jnp.zeros((gates_tbg.shape[1], kernel_dg.shape[0]), gates_tbg.dtype)

    def step(carry: Carry, gate_bg: jax.Array) -> tuple[Carry, tuple[jax.Array, jax.Array, jax.Array]]:
        state_bd, memory_bd = carry
        opened_bg = _opened(gate_bg + state_bd @ kernel_dg)
        into, forget, new, out = jnp.split(opened_bg, 4, axis=-1)
        memory_bd = forget * memory_bd + into * new
        state_bd = out * jnp.tanh(memory_bd)
        return (state_bd, memory_bd), (opened_bg, memory_bd, state_bd)

    _, (opened_tbg, memory_tbd, state_tbd) = jax.lax.scan(step, (empty, empty), gates_tbg, unroll=_turns(gates_tbg))
    return state_tbd, Kept(kernel_dg, opened_tbg, memory_tbd, state_tbd)


def _back(kept: Kept, slope_tbd: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The gradients of the gates [t, b, g] and of the kernel [d, g]."""
    into, forget, new, out = jnp.split(kept.opened_tbg, 4, axis=-1)
    told_tbd, before_tbd = jnp.tanh(kept.memory_tbd), words.preceding(kept.memory_tbd, 0)
    by_memory_tbg = jnp.concatenate(
        [new * into * (1 - into), before_tbd * forget * (1 - forget), into * (1 - new * new)],
        -1,
    )
    ready = slope_tbd, by_memory_tbg, told_tbd * out * (1 - out), out * (1 - told_tbd * told_tbd), forget
    turned_gd = kept.kernel_dg.T

    def step(carry: Carry, given: Ready) -> tuple[Carry, jax.Array]:
        state_bd, memory_bd = carry
        slope_bd, by_memory_b3d, by_state_bd, down_bd, forget_bd = given
        state_bd = state_bd + slope_bd
        memory_bd = memory_bd + state_bd * down_bd
        thrice = jnp.concatenate([memory_bd] * 3, -1)
        gate_bg = jnp.concatenate([by_memory_b3d * thrice, by_state_bd * state_bd], -1)
        return (gate_bg @ turned_gd, memory_bd * forget_bd), gate_bg

    empty = jnp.zeros_like(slope_tbd[0])
    _, gate_tbg = jax.lax.scan(step, (empty, empty), ready, reverse=True, unroll=_turns(slope_tbd))
    kernel_dg = jnp.einsum("tbd,tbg->dg", words.preceding(kept.state_tbd, 0), gate_tbg)
    return gate_tbg, kernel_dg


states.defvjp(_forth, _back)


def _opened(gate_bg: jax.Array) -> jax.Array:
    """Sigmoids of the gates, tanh of what is new; all by one tanh: sigmoid(x) = tanh(x / 2) / 2 + 1 / 2."""
    units = gate_bg.shape[-1] // 4
    of_new = jnp.arange(4 * units) // units == 2
    half_g = jnp.where(of_new, 1.0, 0.5).astype(gate_bg.dtype)
    rest_g = jnp.where(of_new, 0.0, 0.5).astype(gate_bg.dtype)
    return jnp.tanh(gate_bg * half_g) * half_g + rest_g


def _turns(value_t: jax.Array) -> int:
    """Steps in a turn; an exported graph has a length of any size, which is no int."""
    steps = value_t.shape[0]
    return UNROLLED if isinstance(steps, int) and steps % UNROLLED == 0 else 1
