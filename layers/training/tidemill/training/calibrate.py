"""The correction of probabilities as a part of the model: pure, to be compiled, differentiated and exported.

Axes: b batch rows, k classes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from tidemill.core.calibration import EPSILON, Calibration


def apply(calibration: Calibration, p_bk: jax.Array) -> jax.Array:
    """What Calibration.apply gives, in float32: corrected probabilities [b, k]."""
    if calibration.method == "none":
        return p_bk
    log_bk = jnp.log(jnp.clip(p_bk, EPSILON, 1.0))
    if calibration.method == "temperature":
        return jax.nn.softmax(calibration.a * log_bk, axis=-1)
    z_b = calibration.a * (log_bk[:, 1] - log_bk[:, 0]) + calibration.b
    return jnp.stack([jax.nn.sigmoid(-z_b), jax.nn.sigmoid(z_b)], axis=1)
