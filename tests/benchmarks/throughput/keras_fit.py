"""Keras: the same networks by its layers and `fit`, as its guides have it; backend by KERAS_BACKEND.

Left out in its favour: clipping, averaging, keeping the best, the look at rows after an epoch.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from throughput.problem import BLOCKS, DENSE, FILTERS, HEADS, HIDDEN, TASKS, WIDER, WIDTH, WORDS, Losses, rows, ways

PACKAGES = ("keras", keras.backend.backend(), "numpy")
layers = keras.layers


def mlp(x: Any) -> Any:
    """Two hidden layers."""
    for units in HIDDEN:
        x = layers.Dense(units, activation="relu")(x)
    return x


def cnn(x: Any) -> Any:
    """A convolution, pooling, a hidden layer."""
    x = layers.Rescaling(1 / 63.75, offset=-2.0)(x)
    x = layers.MaxPooling2D()(layers.Conv2D(FILTERS, 3, padding="same", activation="relu")(x))
    return layers.Dense(DENSE, activation="relu")(layers.Flatten()(x))


def lstm(x: Any) -> Any:
    """The mean of the states."""
    states = layers.LSTM(WIDTH, return_sequences=True)(layers.Embedding(WORDS, WIDTH)(x))
    return layers.GlobalAveragePooling1D()(states)


def transformer(x: Any) -> Any:
    """Blocks of attention and a hidden layer, normalised first."""
    places = keras.ops.arange(TASKS["transformer"].shape[0])
    x = layers.Embedding(WORDS, WIDTH)(x) + layers.Embedding(len(places), WIDTH)(places)
    for _ in range(BLOCKS):
        normed = layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(normed, normed)
        wide = layers.Dense(WIDER * WIDTH, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
        x = x + layers.Dense(WIDTH)(wide)
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(x))


class Training:
    """One network and its rows."""

    def __init__(self, name: str) -> None:
        keras.utils.set_random_seed(0)
        task = TASKS[name]
        self.x_n, self.y_n = rows(name)
        given = keras.Input(task.shape, dtype="int32" if name in ("lstm", "transformer") else "float32")
        hidden = {"mlp": mlp, "cnn": cnn, "lstm": lstm, "transformer": transformer}[name](given)
        self.model = keras.Model(given, layers.Dense(task.classes)(hidden))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(optimizer=keras.optimizers.AdamW(1e-3, weight_decay=1e-4), loss=loss)
        self.batch = task.batch

    def epochs(self, count: int) -> Losses:
        """So many more epochs."""
        told = self.model.fit(self.x_n, self.y_n, batch_size=self.batch, epochs=count, verbose=0)
        return lambda: [float(np.asarray(told.history["loss"])[-1])]


WAYS = ways(Training)
