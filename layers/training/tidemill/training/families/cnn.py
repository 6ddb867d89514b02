"""cnn: one convolution of 32 filters, pooling, a hidden layer of 128; the small net for small pictures."""

from __future__ import annotations

from typing import Any

from tidemill.training.families import picture

NAME = "cnn"
DESCRIPTION = "A convolution of 32 filters, pooling, and a hidden layer of 128 units."
FILTERS = (32,)
HIDDEN = 128

look = picture.look
trials = picture.trials


def net(features: Any, outputs: int, seen: Any, members: int | None = None, width: int | None = None) -> picture.Cnn:
    """The architecture for these sizes."""
    return picture.Cnn(tuple(features), outputs, FILTERS, width or HIDDEN)
