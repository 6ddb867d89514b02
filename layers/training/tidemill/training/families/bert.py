"""An encoder in the layout of BERT (arXiv 1810.04805) that others have trained: its file, and what it says of a text.

The file is read by the names of sentence-transformers: BERT's, with or without a prefix.

Axes: b batch rows, s pieces, e of an embedding, d of a vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from tidemill.core.errors import BadBackbone
from tidemill.core.features.text_pieces import MOST_PIECES
from tidemill.training.families import Weights, words
from tidemill.training.families.transformer import attended

FILE = "model.safetensors"
HEADS = 12  # of every layer, in MiniLM as in BERT
EPSILON = 1e-12  # of layer normalisation
Array = NDArray[Any]
_REMEDY = "Give the model.safetensors of a sentence-transformers model such as all-MiniLM-L6-v2."


@dataclass(frozen=True, eq=False)
class Encoder:
    """The frozen weights; equal where their content is."""

    weights: Weights
    digest: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encoder) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def width(self) -> int:
        """Of the vectors."""
        return int(self.weights["word"].shape[1])

    @property
    def pieces(self) -> int:
        """How many pieces have an embedding."""
        return len(self.weights["word"])


def read(weights: Weights, vector_bse: jax.Array, real_bs: jax.Array) -> jax.Array:
    """What the encoder says of texts: the mean over their pieces, of length one [b, d]."""
    z = _normed(weights["norm"], vector_bse + jnp.asarray(weights["place"])[: vector_bse.shape[1]])
    for block in weights["blocks"]:
        told = _through(block["told"], attended(_through(block["asked"], z), real_bs, HEADS))
        z = _normed(block["between"], z + told)
        wide = jax.nn.gelu(_through(block["wide"], z), approximate=False)
        z = _normed(block["after"], z + _through(block["narrow"], wide))
    mean_bd = words.mean(z, real_bs)
    unit_bd: jax.Array = mean_bd * jax.lax.rsqrt(jnp.maximum(jnp.square(mean_bd).sum(1, keepdims=True), EPSILON))
    return unit_bd


def _through(layer: Weights, z: jax.Array) -> jax.Array:
    """A linear layer."""
    out: jax.Array = z @ layer["kernel"] + layer["bias"]
    return out


def _normed(layer: Weights, z: jax.Array) -> jax.Array:
    """Layer normalisation (arXiv 1607.06450)."""
    apart = z - z.mean(-1, keepdims=True)
    even: jax.Array = apart * jax.lax.rsqrt(jnp.square(apart).mean(-1, keepdims=True) + EPSILON)
    out: jax.Array = even * layer["scale"] + layer["bias"]
    return out


# --- the file ---------------------------------------------------------------------------------------------------------


def load(folder: Path) -> Encoder:
    """Read the encoder's file; raises BadBackbone naming the first tensor that is missing, and its shape."""
    try:
        arrays = load_file(folder / FILE)
    except (OSError, SafetensorError) as error:
        raise BadBackbone(f"{FILE} cannot be read: {error}.", remedy="Give the weights as safetensors.") from error
    last = "embeddings.word_embeddings.weight"
    prefix = next((name.removesuffix(last) for name in sorted(arrays) if name.endswith(last)), "")
    found = _Found({name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)})
    digest = hashlib.sha256()
    weights = jax.tree.map(lambda leaf: np.ascontiguousarray(leaf, np.float32), _tree(found))
    for leaf in jax.tree.leaves(weights):
        digest.update(str(leaf.shape).encode() + leaf.tobytes())
    return Encoder(weights, digest.hexdigest())


@dataclass(frozen=True)
class _Found:
    """The tensors of a file by name."""

    arrays: Mapping[str, Array]

    def tensor(self, name: str, *shape: int) -> Array:
        """A tensor of a shape, in which -1 is any size; raises BadBackbone."""
        array = self.arrays.get(name)
        wanted = " x ".join("n" if size < 0 else str(size) for size in shape)
        if array is None:
            raise BadBackbone(f"The weights hold no {name} of shape {wanted}.", remedy=_REMEDY, tensor=name)
        fits = len(array.shape) == len(shape) and all(b in (-1, a) for a, b in zip(array.shape, shape, strict=True))
        if not fits or not np.isfinite(array.astype(np.float32)).all():
            told = "x".join(map(str, array.shape)) if not fits else "of numbers that are none"
            raise BadBackbone(f"{name} is {told} where {wanted} is due.", remedy=_REMEDY, tensor=name)
        return array

    def norm(self, name: str, width: int) -> Weights:
        """A layer normalisation."""
        return {"scale": self.tensor(f"{name}.weight", width), "bias": self.tensor(f"{name}.bias", width)}

    def linear(self, name: str, inputs: int, outputs: int) -> Weights:
        """A linear layer, whose matrix is stored the other way round."""
        return {
            "kernel": self.tensor(f"{name}.weight", outputs, inputs).T,
            "bias": self.tensor(f"{name}.bias", outputs),
        }

    def side_by_side(self, names: tuple[str, ...], width: int) -> Weights:
        """Linear layers as one."""
        layers = [self.linear(name, width, width) for name in names]
        return {part: np.concatenate([layer[part] for layer in layers], -1) for part in ("kernel", "bias")}


def _tree(found: _Found) -> Weights:
    """The weights as `read` takes them."""
    word = found.tensor("embeddings.word_embeddings.weight", -1, -1)
    width = word.shape[1]
    place = found.tensor("embeddings.position_embeddings.weight", -1, width)
    kind = found.tensor("embeddings.token_type_embeddings.weight", -1, width)
    if width % HEADS or len(place) < MOST_PIECES:
        raise BadBackbone(
            f"The encoder has vectors of {width} numbers and {len(place)} positions.",
            remedy=f"Give one whose vectors {HEADS} heads share evenly, with {MOST_PIECES} positions or more.",
        )
    layers = 0
    while f"encoder.layer.{layers}.intermediate.dense.weight" in found.arrays:
        layers += 1
    return {
        "word": word,
        "place": place[:MOST_PIECES].astype(np.float32) + kind[0],
        "norm": found.norm("embeddings.LayerNorm", width),
        "blocks": tuple(_block(found, f"encoder.layer.{at}", width) for at in range(max(1, layers))),
    }


def _block(found: _Found, name: str, width: int) -> Weights:
    hidden = found.tensor(f"{name}.intermediate.dense.weight", -1, width).shape[0]
    return {
        "asked": found.side_by_side(
            tuple(f"{name}.attention.self.{part}" for part in ("query", "key", "value")), width
        ),
        "told": found.linear(f"{name}.attention.output.dense", width, width),
        "between": found.norm(f"{name}.attention.output.LayerNorm", width),
        "wide": found.linear(f"{name}.intermediate.dense", width, hidden),
        "narrow": found.linear(f"{name}.output.dense", hidden, width),
        "after": found.norm(f"{name}.output.LayerNorm", width),
    }
