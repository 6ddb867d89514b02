"""The model families by name. A family is a small file: a Flax module, made pure, and one line in FAMILIES.

Axes: n rows, b batch rows, f features, k outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol

import jax
import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import BadSpec

Weights = Any  # a pytree of arrays
Drop = Callable[[jax.Array], jax.Array]  # what a layer's output goes through: dropout in training, nothing after
Settings = Mapping[str, Any]  # of one trial: learning_rate, weight_decay, l1, dropout, width


class Net(Protocol):
    """An architecture with its sizes filled in; hashable, so that JAX can take it as a static argument."""

    features: int
    outputs: int

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Fresh weights of one member as NumPy arrays; units of hidden layers beyond `width` are dead for ever.

        `seen` is what the family's `look` found in the training rows.
        """

    def decayed(self, weights: Weights) -> Any:
        """The same tree with True where L2 and L1 pull."""

    def encode(self, weights: Weights, x_bf: jax.Array) -> jax.Array:
        """Columns [b, e] that tell of one feature each; the features themselves where a net encodes nothing."""

    def bent(self, key: jax.Array, bend: Any, x_b: Any, w_b: jax.Array) -> tuple[Any, jax.Array]:
        """Pictures changed for training, and the share of its own label that each keeps; see augment."""

    def origin(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """Where explanations of pictures and texts start, in the encoding."""

    def by_place(self, value_be: jax.Array, x_b: Any) -> jax.Array:
        """Values of the encoding, summed by pixel, or by n-gram and token [b, p]."""

    def by_feature(self, value_be: jax.Array) -> jax.Array:
        """Values of such columns [b, e], summed by the feature they tell of [b, f]."""

    def enter(self, weights: Weights, encoded: jax.Array) -> Any:
        """The affine part that encoded features go through first: any pytree [b, ...]."""

    def finish(self, weights: Weights, entered: Any, drop: Drop) -> jax.Array:
        """Outputs [b, k] of one member, or [b, j, k] of the j nets that are trained as one: logits, or values."""


class Family(Protocol):
    """What a module of this folder holds.

    A convex family has `solve(x, target_nk, weight_n, settings, classes) -> weights` besides, and is not trained by
    steps. A family of frozen nets has, too, `frozen(net, x) -> features [n, d]`: then `solve` gets features for x (of
    texts beside their n-grams), its weights are a `kernel` and a `bias` on them (and a `table` of n-grams), and
    `encode`, `origin` and `enter` read no weights. Its `load(folder)` reads what people bring, with a `digest`, or
    raises BadBackbone; that is `seen` of its `net`. Where the net reads more than others do, `reading(program, folder)`
    adds it to the feature program.
    """

    NAME: str
    DESCRIPTION: str  # one line, for the card

    def look(self, x_nf: NDArray[Any], y_n: NDArray[Any] | None, classes: int, like: Any = None) -> Any:
        """What the net must know of the training rows: a pytree of arrays, constant in training.

        `y_n` is given where all of these rows are trained on and none is held out. `like` is what was found in all
        rows of the search: nets of several folds differ in values, not in shapes.
        """

    def net(self, features: int, outputs: int, seen: Any, members: int | None, width: int | None) -> Net:
        """The architecture for these sizes; None where the user left the choice."""

    def trials(self, task: str, rows: int) -> list[dict[str, float]]:
        """What the search tries, the defaults first."""


# modality -> name -> module; imported when asked for, so that a family costs nothing where it is not used
MODALITIES = {
    "table": {"tabm": "tabm", "mlp": "mlp", "linear": "linear"},
    "picture": {
        **{"cnn2": "cnn2", "cnn": "cnn", "cnn_lstm": "cnn_lstm", "resnet": "resnet"},
        "backbone": "efficientnet",
    },
    "text": {
        **{"linear": "ngrams", "fasttext": "fasttext", "lstm": "lstm", "transformer": "transformer"},
        "backbone": "minilm",
    },
}
FAMILIES = MODALITIES["table"]


def family(name: str, modality: str = "table") -> Family:
    """A family by name; raises BadSpec naming those that fit the modality."""
    known = MODALITIES[modality]
    if name not in known:
        raise BadSpec(
            f"[train] family is {name!r}, and the data are of the kind {modality}.",
            remedy=f"For {modality} it is one of {', '.join(map(repr, known))}.",
        )
    module: Any = import_module(f"{__name__}.{known[name]}")
    return module  # type: ignore[no-any-return]


def keep(x: jax.Array) -> jax.Array:
    """Drop nothing: a layer after training."""
    return x


def grid(default: dict[str, float], **choices: tuple[float, ...]) -> list[dict[str, float]]:
    """The default, then settings that walk through the choices of every key at its own pace.

    Choices of coprime lengths meet in all combinations before anything repeats.
    """
    turns = range(max(len(values) for values in choices.values()) * 8)
    walked = [{key: values[turn % len(values)] for key, values in choices.items()} for turn in turns]
    found = [default]
    for settings in ({**default, **some} for some in walked):
        if settings not in found:
            found.append(settings)
    return found
