"""Pictures and texts as a few numbers each, so that drift can be watched for where there are no columns to compare.

Axes: n rows, h rows and w columns of a picture, c channels, t tokens of a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Columns = dict[str, Array]
UNKNOWN = 1  # the id of a token that training did not see often enough
BLOCK = 1_000  # rows at a time


def measured(columns: Mapping[str, Array], x_n: Any, modality: str) -> Columns:
    """What reference.npz keeps of the input: columns of a table as they are, measures of pictures and of texts.

    `x` is what the feature program made of the columns.
    """
    if modality == "picture":
        return _pictures(next(iter(columns.values())), x_n)
    if modality == "text":
        return _texts(next(iter(columns.values())), x_n)
    return dict(columns)


def _pictures(data_n: Array, x_nhwc: Array) -> Columns:
    """Size of the file, and of the pixels as models see them: light, contrast, colour and detail, 0 to 255."""
    blocks = [_light(x_nhwc[at : at + BLOCK].astype(np.float32)) for at in range(0, len(x_nhwc), BLOCK)]
    found = np.concatenate(blocks) if blocks else np.empty((0, 4))
    names = ("brightness", "contrast", "colour", "detail")
    return {
        "bytes": np.array([len(data) for data in data_n], np.float64),
        **{name: found[:, at].astype(np.float64) for at, name in enumerate(names)},
    }


def _light(x_nhwc: Array) -> Array:
    """Mean, standard deviation, mean spread of the channels, and mean step between neighbouring pixels [n, 4]."""
    grey_nhw = x_nhwc.mean(3)
    step_n = (np.abs(np.diff(grey_nhw, axis=1)).mean((1, 2)) + np.abs(np.diff(grey_nhw, axis=2)).mean((1, 2))) / 2
    colour_n = (x_nhwc.max(3) - x_nhwc.min(3)).mean((1, 2))
    found: Array = np.stack([grey_nhw.mean((1, 2)), grey_nhw.std((1, 2)), colour_n, step_n], 1)
    return found


def _texts(text_n: Array, x_n: Any) -> Columns:
    """Length, tokens read, and the shares of unknown tokens and of characters beyond ASCII."""
    size_n = np.array([len(text) for text in text_n], np.float64)
    foreign_n = np.array([len(text) - len(text.encode("ascii", "ignore")) for text in text_n], np.float64)
    tokens_n = (x_n.seq_nt > 0).sum(1).astype(np.float64)
    unknown_n = (x_n.seq_nt == UNKNOWN).sum(1)
    return {
        "characters": size_n,
        "tokens": tokens_n,
        "unknown tokens": unknown_n / np.maximum(tokens_n, 1),
        "beyond ASCII": foreign_n / np.maximum(size_n, 1),
    }
