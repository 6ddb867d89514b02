"""A network in the layout of EfficientNet-Lite0, small and with weights drawn at random, and pictures for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tidemill.training.families.lite import Layout, Stage, blocks_of

TINY = Layout(8, (Stage(1, 3, 1, 1, 8), Stage(2, 5, 2, 2, 12)), 16)
SIDE = 20


def arrays(layout: Layout = TINY, naming: str = "timm", seed: int = 0) -> dict[str, Any]:
    """Weights of a network by name; equal numbers under either naming."""
    rng, made = np.random.default_rng(seed), {}
    for unit in (unit for block in blocks_of(layout, naming) for unit in block.units):
        inputs = int(np.prod(unit.shape[1:]))
        made[f"{unit.convolution}.weight"] = rng.normal(0, (2 / inputs) ** 0.5, unit.shape)
        made[f"{unit.norm}.weight"] = rng.uniform(0.5, 1.5, unit.shape[0])
        made[f"{unit.norm}.bias"] = rng.normal(0, 0.3, unit.shape[0])
        made[f"{unit.norm}.running_mean"] = rng.normal(0, 0.3, unit.shape[0])
        made[f"{unit.norm}.running_var"] = rng.uniform(0.5, 1.5, unit.shape[0])
        made[f"{unit.norm}.num_batches_tracked"] = np.array(7)
    return {name: array.astype(np.float32) if array.ndim else array for name, array in made.items()}


def saved(folder: Path, weights: dict[str, Any]) -> Path:
    """A folder with the weights, as the job fetches it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors")
    return folder


def pictures(count: int, seed: int = 1, side: int = SIDE) -> Any:
    """Coloured noise, coarse enough to have something to look at [n, h, w, c]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, side // 4, side // 4, 3), dtype=np.uint8)
    return coarse.repeat(4, 1).repeat(4, 2)
