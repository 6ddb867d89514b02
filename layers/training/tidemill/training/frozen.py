"""Features of nets that stay as they are: computed once for each row, kept, and read wherever such a net answers.

A family whose module has `frozen(net, x) -> features [n, d]` is trained by solving for a head alone; everything before
it is the same for every head, fold and trial, and costs a thousand times as much.

Axes: n rows, b batch rows, d features, k outputs.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from tidemill.training import devices, inputs
from tidemill.training.inputs import Inputs

Array = NDArray[Any]
Compute = Callable[[Inputs], Array]
ASKED = 256  # rows between two looks at whether to stop: seconds of a processor
TOGETHER = 16  # rows computed at once: their largest layer fills a processor's cache many times over already
TOGETHER_ON_GPU = 128


def frozen_of(net: Any) -> Callable[[Any, Inputs], Array] | None:
    """What gives the features of a net, for any number of rows: `frozen` of its family; None for nets that learn."""
    found = getattr(sys.modules.get(type(net).__module__), "frozen", None)
    return found if callable(found) else None


class Beside(NamedTuple):
    """Features of texts, and the n-grams that stand beside them."""

    feature_nd: Any
    bag_nm: Any
    weight_nm: Any


def applied(weights: Any, given: Any) -> Any:
    """What a head says of what `read` gave [b, k]: a kernel and a bias on features, of texts a table too."""
    if not isinstance(given, Beside):
        return given @ weights["kernel"] + weights["bias"]
    said_bmk = weights["table"][given.bag_nm] * given.weight_nm[..., None]
    return applied(weights, given.feature_nd) + said_bmk.sum(-2)


def read(net: Any, x_n: Inputs) -> Any:
    """What a family's `solve` reads: features, known ones not computed again; the rows themselves for other nets."""
    frozen = frozen_of(net)
    if not frozen:
        return x_n
    feature_nd = kept_of(net, frozen).of(x_n)
    return Beside(feature_nd, x_n.bag_nm, x_n.weight_nm) if hasattr(x_n, "bag_nm") else feature_nd


def fill(net: Any, x_n: Inputs) -> Iterator[int]:
    """Compute the features of rows, saying now and then how many are done; nothing for nets that learn."""
    frozen = frozen_of(net)
    return kept_of(net, frozen).fill(x_n) if frozen else iter(())


class Kept:
    """The features of all rows that a net has seen, by the content of the row."""

    def __init__(self, net: Any, frozen: Callable[[Any, Inputs], Array]) -> None:
        self.net, self.frozen = net, frozen
        self.features: dict[bytes, Array] = {}

    def fill(self, x_n: Inputs) -> Iterator[int]:
        """Compute what is not known yet; says now and then how many rows are done."""
        keys = keys_of(x_n)
        first = {key: row for row, key in reversed(list(enumerate(keys))) if key not in self.features}
        open_n = np.array(sorted(first.values()), np.int64)
        for start in range(0, len(open_n), ASKED):
            at_b = open_n[start : start + ASKED]
            for row, feature_d in zip(at_b, self.frozen(self.net, inputs.taken(x_n, at_b)), strict=True):
                self.features[keys[row]] = np.array(feature_d)
            yield len(keys) - len(open_n) + start + len(at_b)

    def of(self, x_n: Inputs) -> Array:
        """The features [n, d] of rows, computed or known."""
        for _ in self.fill(x_n):
            pass
        return np.stack([self.features[key] for key in keys_of(x_n)])


@lru_cache(maxsize=2)
def kept_of(net: Any, frozen: Callable[[Any, Inputs], Array]) -> Kept:
    """The features known of a net; equal weights are one net."""
    return Kept(net, frozen)


def keys_of(x_n: Inputs) -> list[bytes]:
    """The content of each row in 16 bytes an array. Zeros behind do not count: texts are filled up with them."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(x_n)]

    def told(row_s: Array) -> bytes:
        return hashlib.blake2b(row_s.tobytes().rstrip(b"\0"), digest_size=16).digest()

    return [b"".join(told(leaf[row]) for leaf in leaves) for row in range(inputs.count(x_n))]


# --- how they are computed --------------------------------------------------------------------------------------------


def in_blocks(compute: Compute, x_n: Inputs) -> Array:
    """Features of any number of rows, computed in blocks of one shape."""
    rows, together = inputs.count(x_n), TOGETHER if jax.default_backend() == "cpu" else TOGETHER_ON_GPU
    at = [np.resize(np.arange(start, min(start + together, rows)), together) for start in range(0, rows, together)]
    return np.concatenate([compute(inputs.taken(x_n, at_b)) for at_b in at])[:rows]


def computing(function: Callable[[Inputs], jax.Array], x_b: Inputs) -> Compute:
    """A pure function of rows like these, made fast: by ONNX Runtime on a processor, by JAX on anything else."""
    return by_onnx(function, x_b) if jax.default_backend() == "cpu" else by_jax(function)


def by_jax(function: Callable[[Inputs], jax.Array]) -> Compute:
    """By JAX, in full float32 precision."""
    compiled = jax.jit(function)

    def compute(x_b: Inputs) -> Array:
        with jax.default_matmul_precision("highest"):
            return np.asarray(compiled(x_b))

    return compute


def by_onnx(function: Callable[[Inputs], jax.Array], x_b: Inputs) -> Compute:
    """By ONNX Runtime, whose convolutions are several times as fast as XLA's on a processor."""
    from tidemill.training import export
    from tidemill.training.bundle import specs_of
    from tidemill.training.export.parity import session

    graph = export.to_onnx(lambda *arrays: function(inputs.like(x_b, arrays)), specs_of(x_b), ("features",))
    runner = session(graph, threads=devices.cores())

    def compute(x_b: Inputs) -> Array:
        found: Array = runner.run(None, inputs.named(x_b))[0]
        return found

    return compute
