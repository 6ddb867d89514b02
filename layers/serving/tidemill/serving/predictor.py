"""A bundle that answers: rows in, labels with probabilities or values out.

Axes: n rows, f features, k labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from tidemill.core.errors import BadBundle
from tidemill.core.features.program import Program
from tidemill.serving.session import open_session

Array = np.ndarray[Any, Any]
Row = Mapping[str, Any]

CHUNK_VALUES = 1 << 21  # features per run of the session: 8 MB of input at a time, whatever the batch
DIGITS = 7  # what float32 holds


@dataclass(frozen=True)
class Predictor:
    """The model of one bundle folder."""

    folder: Path
    program: Program
    task: str
    target: str
    labels: tuple[str, ...]
    session: ort.InferenceSession

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Open a bundle whose files were checked against its manifest; raises BadBundle where the parts do not fit."""
        try:
            program = Program.from_json(json.loads((folder / "features.json").read_text()))
            answers = json.loads((folder / "labels.json").read_text())
            session = open_session(folder / "model.onnx")
            loaded = cls(folder, program, answers["task"], answers["target"], tuple(answers["labels"]), session)
        except BadBundle:
            raise
        except Exception as error:  # ONNX Runtime raises many types, none of them public
            reason = f"{type(error).__name__}: {error}".replace(f"{folder}/", "")[:200]
            raise BadBundle(f"The bundle cannot be opened: {reason}", remedy="Train again.") from error
        loaded._check()
        return loaded

    @cached_property
    def explain_session(self) -> ort.InferenceSession:
        """The session of explain.onnx, opened by the first explanation."""
        return open_session(self.folder / "explain.onnx")

    @property
    def explainable(self) -> bool:
        """Whether explanations can be given; an open session needs its file no more."""
        return "explain_session" in vars(self) or (self.folder / "explain.onnx").is_file()

    def predict(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """One prediction a row; raises SchemaMismatch naming the row, the column and the value that do not fit."""
        return self.answers(self.scores(self.program.x_of_rows(rows)))

    def predict_columns(self, columns: Mapping[str, Array]) -> Array:
        """Probabilities (n, k), or values (n,), of whole columns."""
        score_nk = self.scores(self.program.apply(columns))
        return score_nk[:, 0] if self.task == "regression" else score_nk

    def scores(self, x_nf: Array) -> Array:
        """The output of the model, float32 (n, k) or (n, 1); raises BadBundle for answers that are no numbers."""
        step = max(1, CHUNK_VALUES // max(1, x_nf.shape[1]))
        parts = [self.session.run(None, {"x": x_nf[i : i + step]})[0] for i in range(0, len(x_nf), step)]
        score_nk: Array = parts[0] if len(parts) == 1 else np.concatenate([self._no_scores, *parts])
        if not np.isfinite(score_nk).all():
            raise BadBundle(
                "The model answered with something that is no number.", remedy="Go back to a version before."
            )
        return score_nk

    def answers(self, score_nk: Array) -> list[dict[str, Any]]:
        """Scores as the API shows them."""
        if self.task == "regression":
            return [{"value": float(f"{value:.{DIGITS}g}")} for value in score_nk[:, 0].tolist()]
        labels = self.labels
        best_n = score_nk.argmax(axis=1).tolist()
        shown_nk = np.round(score_nk.astype(np.float64), DIGITS).tolist()
        return [
            {"label": labels[best], "probabilities": dict(zip(labels, shown_k, strict=True))}
            for best, shown_k in zip(best_n, shown_nk, strict=True)
        ]

    @property
    def _no_scores(self) -> Array:
        return np.empty((0, max(1, len(self.labels))), dtype=np.float32)

    def _check(self) -> None:
        """Compare the widths, where the graph states them."""
        given, outputs = self.session.get_inputs()[0].shape[1], self.session.get_outputs()[0].shape[1]
        wanted, answers = self.program.width, max(1, len(self.labels))
        if (isinstance(given, int) and given != wanted) or (isinstance(outputs, int) and outputs != answers):
            raise BadBundle(
                f"model.onnx maps {given} features to {outputs} outputs; "
                f"features.json gives {wanted} and labels.json asks for {answers}.",
                remedy="Train again.",
            )
