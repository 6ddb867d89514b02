"""Texts as problems for a search, and an encoder of random weights in the layout of MiniLM."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tests.core.sentences import column, program_of, texts
from tests.training.populations import LABELS, Problem

from tidemill.core.features.text_pieces import Pieces
from tidemill.core.features.texts import TextProgram
from tidemill.core.spec import Search as SearchSection
from tidemill.core.spec import Spec, Train
from tidemill.training import config

WIDTH, HIDDEN, LAYERS, POSITIONS = 24, 48, 2, 130


@dataclasses.dataclass(frozen=True, eq=False)
class Sentences:
    """A problem whose rows are texts, the texts, and their program."""

    case: Problem
    rows: list[str]
    program: TextProgram

    def of(self, family: str, **changes: Any) -> Problem:
        """The problem for one family, with other settings."""
        return self.case.changed(families=(family,), **changes)

    def x_of(self, rows: list[str]) -> Any:
        """Texts as a model reads them."""
        return self.program.apply(column(rows))


def sentences(task: str, pieces: Pieces | None = None, rows: int = 240) -> Sentences:
    """Texts with classes, or with numbers that follow from them; settings for a short search."""
    made, y_n = texts(max(2, len(LABELS[task])), rows)
    program = program_of(made)
    program = program.reading(pieces) if pieces else program
    target_n = y_n if LABELS[task] else 10.0 * y_n + np.random.default_rng(1).normal(0, 1, rows)
    train = Train(epochs=14, patience=14, batch_size=16, width=8, learning_rate=1e-2)
    spec = Spec(train=train, search=SearchSection(configurations=2, folds=1))
    schema = {"task": task, "labels": LABELS[task], "modality": "text"}
    settings = config.resolve(spec, schema, rows=rows, features=program.shape)
    return Sentences(Problem(program.apply(column(made)), target_n, settings), made, program)


def encoder_arrays(pieces: int, seed: int = 0) -> dict[str, Any]:
    """Random weights by the names of sentence-transformers; a torch layer stores its matrix outputs first."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int, scale: float = 0.2) -> Any:
        return rng.normal(0, scale, shape).astype(np.float32)

    made = {
        "embeddings.word_embeddings.weight": drawn(pieces, WIDTH, scale=1.0),
        "embeddings.position_embeddings.weight": drawn(POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": drawn(2, WIDTH),
        "pooler.dense.weight": drawn(WIDTH, WIDTH),
    }
    norms, layers = ["embeddings.LayerNorm"], []
    for at in range(LAYERS):
        name = f"encoder.layer.{at}"
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
        layers += [(f"{name}.attention.self.{part}", WIDTH, WIDTH) for part in ("query", "key", "value")]
        layers += [(f"{name}.attention.output.dense", WIDTH, WIDTH)]
        layers += [(f"{name}.intermediate.dense", WIDTH, HIDDEN), (f"{name}.output.dense", HIDDEN, WIDTH)]
    for name in norms:
        made |= {f"{name}.weight": 1 + drawn(WIDTH), f"{name}.bias": drawn(WIDTH)}
    for name, inputs, outputs in layers:
        made |= {f"{name}.weight": drawn(outputs, inputs), f"{name}.bias": drawn(outputs)}
    return made


def encoder_folder(folder: Path, pieces: Pieces, prefix: str = "", **changes: Any) -> Path:
    """A backbone's folder: weights and vocabulary; a change of None leaves a tensor out."""
    arrays = {**encoder_arrays(len(pieces.vocabulary)), **changes}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {prefix + name: array for name, array in arrays.items() if array is not None}, folder / "model.safetensors"
    )
    (folder / "vocab.txt").write_text("\n".join(pieces.vocabulary) + "\n", encoding="utf-8")
    return folder
