"""Schedules by name: the share of the learning rate that a step takes. Numbers are traced, the name is not."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tidemill.core.errors import BadSpec

Number = jax.Array | float | int
DROPS = (0.60, 0.85)  # shares of the way at which "step" takes a tenth
TENTH = 0.1


def constant(done: jax.Array, left: jax.Array) -> jax.Array:
    """The whole rate to the end."""
    return jnp.ones_like(done + left)


def cosine(done: jax.Array, left: jax.Array) -> jax.Array:
    """Half a cosine from one to nothing: SGDR without restarts, arXiv 1608.03983 formula 5."""
    return 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(done / left, 0.0, 1.0)))


def step(done: jax.Array, left: jax.Array) -> jax.Array:
    """A tenth of the rate from each share of DROPS on; half a step of slack keeps rounding out of the comparison."""
    drops = sum((done + 0.5 > share * left).astype(jnp.float32) for share in DROPS)
    return jnp.asarray(TENTH**drops)


SCHEDULES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "constant": constant,
    "cosine": cosine,
    "step": step,
}


def factor(name: str, step: Number, steps: Number, warmup: Number) -> jax.Array:
    """The factor in [0, 1] of the learning rate at a step (0 is the first) of `steps`.

    In the first `warmup` (a share) of the steps it rises in a line, never from zero, so that no step is wasted; then
    the schedule runs from its beginning to its end over what is left. Past the end it stays where it ended.
    Raises BadSpec for a name nobody knows.
    """
    if name not in SCHEDULES:
        raise BadSpec(f"[train] schedule is {name!r}.", remedy=f"It is one of {', '.join(map(repr, SCHEDULES))}.")
    now, all_steps = jnp.asarray(step, jnp.float32), jnp.asarray(steps, jnp.float32)
    rising = warmup * all_steps
    rise = jnp.minimum((now + 1.0) / (rising + 1.0), 1.0)
    left = jnp.maximum(all_steps - rising, 1.0)
    return rise * SCHEDULES[name](jnp.clip(now - rising, 0.0, left), left)
