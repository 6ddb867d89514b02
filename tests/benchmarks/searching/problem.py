"""The search that everybody runs: the rows, and the settings of each configuration, drawn with a fixed seed.

Axes: n rows, f features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS, HELD, FEATURES, CLASSES = 4096, 1024, 32, 2
EPOCHS, BATCH = 5, 64
WIDTHS = (64, 32)  # of the first hidden layer; the second is half of it
MOST = 128  # configurations
COMPARED = 4  # configurations that everybody trains: of these the validation losses are compared


def rows() -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Features and classes: ROWS to train on, HELD behind them; a linear part, a bent one, and noise."""
    chance = np.random.default_rng(20)
    x_nf = chance.normal(size=(ROWS + HELD, FEATURES)).astype(np.float32)
    linear_n = x_nf @ chance.normal(size=FEATURES) / FEATURES**0.5
    bent_n = np.sin(2 * x_nf[:, 0]) + x_nf[:, 1] * x_nf[:, 2]
    y_n = linear_n + bent_n + 0.5 * chance.normal(size=ROWS + HELD) > 0
    return x_nf, y_n.astype(np.int32)


def settings(count: int) -> list[dict[str, Any]]:
    """The first configurations; every second one with L1, widths in turn."""
    chance = np.random.default_rng(21)
    rate, decay, l1, dropout = chance.uniform(size=(4, MOST))
    return [
        {
            "learning_rate": float(10 ** (-3.5 + 1.5 * rate[at])),
            "weight_decay": float(10 ** (-4 + 3 * decay[at])),
            "l1": float(10 ** (-5 + l1[at])) if at % 2 else 0.0,
            "dropout": float(0.3 * dropout[at]),
            "width": WIDTHS[at // 2 % len(WIDTHS)],
        }
        for at in range(count)
    ]
