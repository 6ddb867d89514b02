"""Training pictures bent a little at every step, on the device: shifted, turned, zoomed, sheared, flipped, mixed.

One affine map a picture, read off bilinearly in a single gather; beyond the edge the edge goes on. Pictures of a batch
are mixed with their neighbours (mixup, arXiv 1710.09412), whose labels then count by their share. How much of it all
helps depends on the pictures (a flipped digit is another digit), so that strengths are settings of a trial, and
flipping is never a default.

Axes: b batch rows, h height, w width, c channels, d draws of a picture.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tidemill.training.dropout import GOLDEN, fold, mix

Number = jax.Array | np.float32 | float
SHIFT, TURN, ZOOM, SHEAR = 0.1, 0.26, 0.12, 0.1  # of the side; radians (15 degrees); of the size; of the height


class Bend(NamedTuple):
    """How far pictures are changed in training: 0 is not at all, 1 as far as SHIFT, TURN, ZOOM and SHEAR say."""

    affine: Number = 0.0
    flip: Number = 0.0  # chance of a picture to be mirrored left to right
    mixup: Number = 0.0  # 1: shares of the neighbour up to a half


def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Numbers in [0, 1) that follow from a key."""
    size = int(np.prod(shape))
    words = mix(jax.lax.iota(jnp.uint32, size) * GOLDEN + fold(key, 0xA06))
    return (words >> 8).astype(jnp.float32).reshape(shape) * np.float32(2**-24)


def bent(key: jax.Array, bend: Bend, x_bhwc: jax.Array, w_b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Pictures changed, and the share [b] that each keeps of its own label; the rest is its neighbour's (`beside`).

    Rows without weight are padding: nothing is mixed with them.
    """
    draw_bd = 2.0 * uniform(key, (x_bhwc.shape[0], 7)) - 1.0
    changed = _read_off(x_bhwc, *_places(draw_bd, bend, *x_bhwc.shape[1:3]))
    share_b = jnp.where(beside(w_b) > 0, 1.0 - bend.mixup * jnp.abs(draw_bd[:, 5]) / 2.0, 1.0)
    mixed: jax.Array = share_b[:, None, None, None] * changed + (1.0 - share_b)[:, None, None, None] * beside(changed)
    return mixed, share_b


def beside(rows: Any) -> Any:
    """Each row's neighbour in the batch; batches are shuffled."""
    return jax.tree.map(lambda array: jnp.roll(array, 1, axis=0), rows)


def _places(draw_bd: jax.Array, bend: Bend, height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Where each pixel of the result is read: rows and columns [b, h, w], in pixels of the picture."""
    turn_b, zoom_b, shear_b = (bend.affine * most * draw_bd[:, at] for at, most in ((0, TURN), (1, ZOOM), (2, SHEAR)))
    down_b, right_b = (bend.affine * SHIFT * draw_bd[:, at] for at in (3, 4))
    flip_b = jnp.where((draw_bd[:, 6] + 1.0) / 2.0 < bend.flip, -1.0, 1.0)
    cos_b, sin_b = jnp.cos(turn_b) * (1.0 + zoom_b), jnp.sin(turn_b) * (1.0 + zoom_b)
    y_h1, x_1w = (jnp.arange(size) - (size - 1) / 2.0 for size in (height, width))
    y_h1, x_1w = y_h1[:, None], x_1w[None]

    def each(value_b: jax.Array) -> jax.Array:
        return value_b[:, None, None]

    from_x = each(flip_b) * x_1w
    row = each(cos_b) * y_h1 + each(sin_b + shear_b) * from_x + (height - 1) / 2.0 + each(down_b) * height
    column = each(cos_b) * from_x - each(sin_b) * y_h1 + (width - 1) / 2.0 + each(right_b) * width
    return row, column


def _read_off(x_bhwc: jax.Array, row_bhw: jax.Array, column_bhw: jax.Array) -> jax.Array:
    """Values between pixels, bilinearly; beyond the edge those of the edge."""
    b, height, width, channels = x_bhwc.shape
    row_bhw, column_bhw = jnp.clip(row_bhw, 0, height - 1), jnp.clip(column_bhw, 0, width - 1)
    top, left = jnp.floor(row_bhw), jnp.floor(column_bhw)
    flat_bpc = x_bhwc.reshape(b, height * width, channels)

    def at(row: jax.Array, column: jax.Array) -> jax.Array:
        place = jnp.minimum(row, height - 1) * width + jnp.minimum(column, width - 1)
        found = jnp.take_along_axis(flat_bpc, place.astype(jnp.int32).reshape(b, -1, 1), axis=1)
        return found.reshape(b, height, width, channels)

    down, right = (row_bhw - top)[..., None], (column_bhw - left)[..., None]
    upper = at(top, left) * (1 - right) + at(top, left + 1) * right
    lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    return upper * (1 - down) + lower * down
