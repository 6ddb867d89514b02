"""cnn2: two convolutions of 32 and 64 filters, more of 64 while pictures are large, and a hidden layer of 128."""

from __future__ import annotations

from typing import Any

from tidemill.training.families import picture

NAME = "cnn2"
DESCRIPTION = "Convolutions of 32 and 64 filters, each with pooling, and a hidden layer of 128 units."
FILTERS = (32, 64)
HIDDEN = 128
SMALL = 8  # pixels a side: larger pictures are convolved and pooled once more

look = picture.look
trials = picture.trials


def net(features: Any, outputs: int, seen: Any, members: int | None = None, width: int | None = None) -> picture.Cnn:
    """The architecture for these sizes."""
    side, filters = max(picture.smaller(tuple(features))[:2]) // 2 ** len(FILTERS), list(FILTERS)
    while side > SMALL:
        filters.append(FILTERS[-1])
        side //= 2
    return picture.Cnn(tuple(features), outputs, tuple(filters), width or HIDDEN)
