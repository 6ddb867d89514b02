"""What the training tests share: small learnable problems, and a dataset folder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidemill.core.prepare import prepare
from tidemill.core.spec import Data, Spec, Train
from tidemill.training import batches, config, losses
from tidemill.training.config import Config
from tidemill.training.families import family
from tidemill.training.loop import Kind, train

ADULT = Path(__file__).parent.parent / "data" / "adult-3000.csv"
QUICK = Train(epochs=6, patience=6, members=2)


@dataclass(frozen=True, eq=False)
class Problem:
    """A generated table with the configuration of a short training."""

    x_nf: Any
    y_n: Any
    config: Config

    @property
    def kind(self) -> Kind:
        """The net for it."""
        net = family(self.config.family).net(self.config.features, self.config.outputs)
        return Kind(net, self.config.task, self.config.log1p)

    def changed(self, **fields: Any) -> Problem:
        """The same with other settings."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **fields))

    def train(self, **more: Any) -> Any:
        """Train on the first two thirds, watch the rest; the state."""
        scale = losses.scale_of(self.y_n, log1p=self.config.log1p)
        cut = len(self.y_n) * 2 // 3
        rows, plan = batches.for_training(self.x_nf[:cut], self.y_n[:cut], self.config)
        held = batches.for_looking(self.x_nf[cut:], self.y_n[cut:])
        return train(self.kind, self.config, scale, rows, plan, held, **more)


def problem(task: str, rows: int = 240, features: int = 5, seed: int = 0) -> Problem:
    """A table in which half the target follows from bent and crossed features."""
    rng = np.random.default_rng(seed)
    x_nf = rng.normal(size=(rows, features)).astype(np.float32)
    signal_n = 2 * x_nf[:, 0] * x_nf[:, 1] + np.abs(x_nf[:, 2]) + 0.3 * rng.normal(size=rows)
    labels = {"binary": ["a", "b"], "multiclass": ["a", "b", "c"], "regression": []}[task]
    y_n = (
        100 + 10 * signal_n
        if not labels
        else np.digitize(signal_n, np.quantile(signal_n, [0.3, 0.6][: len(labels) - 1]))
    )
    spec = Spec(train=QUICK)
    return Problem(x_nf, y_n, config.resolve(spec, {"task": task, "labels": labels}, rows=rows, features=features))


@pytest.fixture(scope="session")
def adult(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset folder of tests/data/adult-3000.csv."""
    folder = tmp_path_factory.mktemp("adult") / "dataset"
    prepare(ADULT, ADULT.name, Spec(data=Data(target="income")), folder, model="adult")
    return folder


@pytest.fixture(scope="session")
def make_problem() -> Any:
    """The function that makes problems."""
    return problem
