"""Inputs of a model in pieces that fit the memory, under the names that its graph reads.

Axes: n rows, f features, h rows and w columns of a picture, c channels, m n-grams and t tokens of a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Inputs = Any  # features x_nf, pixels x_nhwc, or texts as core.features.text_bags.Ragged, which are padded here
Feed = dict[str, Array]

PIXELS = 1 << 19  # of pictures at a time: a network holds up to 200 times their bytes, so some 100 MB
PLACES = 1 << 16  # n-grams and tokens of texts at a time, padding included
TEXTS = 256  # padded at once: the longest makes all as wide


def feeds(x_n: Inputs, names: Sequence[str], values: int) -> Iterator[Feed]:
    """The rows in their order, in pieces; of features, `values` a piece."""
    if hasattr(x_n, "padded"):
        for first in range(0, len(x_n), TEXTS):
            yield from text_feeds(x_n, np.arange(first, min(first + TEXTS, len(x_n))), names)
        return
    step = values // max(1, x_n.shape[1]) if x_n.ndim == 2 else PIXELS // (x_n.shape[1] * x_n.shape[2])
    step = max(1, step)
    for first in range(0, len(x_n), step):
        yield {names[0]: x_n[first : first + step]}


def text_feeds(texts: Any, chosen_n: Array, names: Sequence[str]) -> Iterator[Feed]:
    """Some texts, padded to the same width, in pieces."""
    arrays = texts.padded(chosen_n)._asdict()
    step = max(1, PLACES // (arrays["bag_nm"].shape[1] + arrays["seq_nt"].shape[1]))
    for first in range(0, len(chosen_n), step):
        yield {name: arrays[name][first : first + step] for name in names}
