"""Keras: a model, compile and fit for each configuration, as its guides have it; backend by KERAS_BACKEND.

Left out in its favour: clipping, averaging, keeping the best, the look at training rows; layers are as narrow as asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from searching.problem import BATCH, CLASSES, EPOCHS, FEATURES, HELD, ROWS, rows, settings

PACKAGES = ("keras", keras.backend.backend(), "numpy")
X_NF, Y_N = rows()
SEEN, LOOKED = (X_NF[:ROWS], Y_N[:ROWS]), (X_NF[ROWS:], Y_N[ROWS:])
fitted: list[Any] = []  # the newest models, for `again`
Losses = Callable[[], list[float]]


def model_of(told: dict[str, Any]) -> Any:
    """A model with these settings; L1 and dropout only where there is any."""
    layers: list[Any] = [keras.Input((FEATURES,))]
    l1 = {"kernel_regularizer": keras.regularizers.L1(told["l1"])} if told["l1"] else {}
    for units in (told["width"], told["width"] // 2):
        layers.append(keras.layers.Dense(units, activation="relu", **l1))
        layers += [keras.layers.Dropout(told["dropout"])] if told["dropout"] else []
    model = keras.Sequential([*layers, keras.layers.Dense(CLASSES, activation="softmax", **l1)])
    rule = keras.optimizers.AdamW(told["learning_rate"], weight_decay=told["weight_decay"])
    model.compile(optimizer=rule, loss="sparse_categorical_crossentropy")
    return model


def train(model: Any) -> None:
    """Five epochs, each with a look at the held rows, all of them at once."""
    model.fit(*SEEN, batch_size=BATCH, epochs=EPOCHS, validation_data=LOOKED, validation_batch_size=HELD, verbose=0)


def held_losses() -> list[float]:
    """The log loss of the newest models on the held rows, without penalties."""
    answers = (model.predict(LOOKED[0], batch_size=HELD, verbose=0) for model in fitted)
    return [float(-np.log(answer_nk[np.arange(HELD), LOOKED[1]]).mean()) for answer_nk in answers]


def fit(count: int) -> Losses:
    """A new model for each."""
    keras.utils.set_random_seed(0)
    fitted.clear()
    for told in settings(count):
        fitted.append(model_of(told))
        train(fitted[-1])
    return held_losses


def again(count: int) -> Losses:
    """Fit models that have been fitted before once more: what is left of the cost when nothing needs compiling."""
    if len(fitted) < count:
        fit(count)
    for model in fitted[:count]:
        train(model)
    return list  # trained for longer than the others: nothing to compare


WAYS = {"fit": fit, "fit again": again}
