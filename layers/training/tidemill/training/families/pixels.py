"""What networks for pictures are made of: convolutions and pooling that are fast where they run, and their shapes.

On a CPU a convolution in training is a matrix product of shifted copies, and pooling a maximum over a reshape: several
times faster than XLA's own there, deterministic, and members of a population stay one batch of matrix products. A GPU
and the exported graph get the convolution itself.

Axes: b batch rows, h height, w width, c channels, o output channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tidemill.training.families import Weights

Shape = tuple[int, int, int]  # of a picture: h, w, c
EXPORTING: ContextVar[bool] = ContextVar("exporting", default=False)
FEW = 4  # channels up to which pixels are copied one channel after the other: short runs are slow to copy
MIDDLE, HALF = 127.5, 63.75  # pixels are 0 to 255; what nets see is about -2 to 2


def seen(x_bhwc: Any) -> Any:
    """Pixels as nets see them."""
    return (x_bhwc.astype(jnp.float32) - MIDDLE) / HALF


def convolved(layer: nnx.Conv, x_bhwc: jax.Array, stride: int = 1) -> jax.Array:
    """A convolution that keeps the size (over the stride), with its bias."""
    kernel = layer.kernel[...]
    if on_cpu(x_bhwc):
        out = _shifted(kernel, x_bhwc, stride)
    else:
        layout = ("NHWC", "HWIO", "NHWC")
        out = jax.lax.conv_general_dilated(x_bhwc, kernel, (stride, stride), "SAME", dimension_numbers=layout)
    return out if layer.bias is None else out + layer.bias[...]


def pooled(x_bhwc: jax.Array, size: int = 2) -> jax.Array:
    """The largest of each square; a row or column too many is left out."""
    b, height, width, channels = x_bhwc.shape
    rows, columns = height // size, width // size
    whole = x_bhwc[:, : rows * size, : columns * size]
    if on_cpu(x_bhwc):
        return _largest(whole, size)
    return whole.reshape(b, rows, size, columns, size, channels).max((2, 4))


def drawn(weights: Weights, rng: np.random.Generator, gain: float = 2.0) -> Weights:
    """Kernels drawn normally with variance gain / inputs (He, arXiv 1502.01852), the rest as it is."""

    def leaf(path: Any, array: Any) -> Any:
        if "kernel" not in jax.tree_util.keystr(path):
            return array
        inputs = int(np.prod(array.shape[:-1]))
        return rng.normal(0.0, (gain / inputs) ** 0.5, array.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(leaf, weights)


@contextmanager
def exported(exporting: bool) -> Iterator[None]:
    """While a graph is made whose batch has a size that is known, such as one row in a loop."""
    token = EXPORTING.set(exporting)
    try:
        yield
    finally:
        EXPORTING.reset(token)


def on_cpu(x: jax.Array) -> bool:
    """Whether what is traced will run here on a processor: an exported graph has a batch of any size, no int."""
    return not EXPORTING.get() and isinstance(x.shape[0], int) and jax.default_backend() == "cpu"


def same(size: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """How long a side is after a convolution that keeps it (over the stride), and what is added before and behind."""
    made = -(-size // stride)
    added = max(0, (made - 1) * stride + kernel - size)
    return made, added // 2, added - added // 2


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _largest(x_bhwc: jax.Array, size: int) -> jax.Array:
    """The largest of each square, with a gradient that equals XLA's own and takes a sixth of its time on a CPU."""
    return reduce(jnp.maximum, _corners(x_bhwc, size))


def _corners(x_bhwc: jax.Array, size: int) -> list[jax.Array]:
    """One pixel of each square: as many pictures as a square has pixels."""
    b, height, width, channels = x_bhwc.shape
    cut = x_bhwc.reshape(b, height // size, size, width // size, size, channels)
    return [cut[:, :, y, :, x] for y in range(size) for x in range(size)]


def _largest_seen(x_bhwc: jax.Array, size: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    top_bhwc = _largest(x_bhwc, size)
    return top_bhwc, (x_bhwc, top_bhwc)


def _largest_pulled(size: int, seen: tuple[jax.Array, jax.Array], pull_bhwc: jax.Array) -> tuple[jax.Array]:
    """Pixels that are equally large share their square's gradient."""
    x_bhwc, top_bhwc = seen
    equal = sum((corner == top_bhwc).astype(jnp.float32) for corner in _corners(x_bhwc, size))

    def spread(of_squares: jax.Array) -> jax.Array:
        return jnp.repeat(jnp.repeat(of_squares, size, axis=1), size, axis=2)

    return (jnp.where(x_bhwc == spread(top_bhwc), spread(pull_bhwc / equal), 0.0),)


_largest.defvjp(_largest_seen, _largest_pulled)


def _shifted(kernel_yxco: jax.Array, x_bhwc: jax.Array, stride: int) -> jax.Array:
    """The convolution as one product: every pixel beside its neighbours, times the kernel laid flat."""
    tall, wide, channels, outputs = kernel_yxco.shape
    (height, *rows), (width, *columns) = same(x_bhwc.shape[1], tall, stride), same(x_bhwc.shape[2], wide, stride)
    around = jnp.pad(x_bhwc, ((0, 0), (rows[0], rows[1]), (columns[0], columns[1]), (0, 0)))
    last = [stride * (size - 1) + 1 for size in (height, width)]
    copies = [around[:, y : y + last[0] : stride, x : x + last[1] : stride] for y in range(tall) for x in range(wide)]
    flat = kernel_yxco.reshape(tall * wide * channels, outputs)
    if channels > FEW:
        return jnp.concatenate(copies, -1) @ flat
    laid = jnp.stack([copy[..., channel].reshape(-1) for copy in copies for channel in range(channels)])
    return jnp.einsum("in,io->no", laid, flat).reshape(*copies[0].shape[:3], outputs)
