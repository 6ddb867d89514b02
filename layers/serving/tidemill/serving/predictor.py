"""A bundle that answers: rows in, labels with probabilities or values out.

Rows are those of a table, pictures or texts; what differs is in the feature program and in `feeds`.

Axes: n rows, f features, k labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from tidemill.core import features
from tidemill.core.errors import BadBundle
from tidemill.core.outputs import NAME as OUTPUTS
from tidemill.core.outputs import Outputs
from tidemill.serving.feeds import Inputs, feeds
from tidemill.serving.session import open_session

Array = np.ndarray[Any, Any]
Row = Mapping[str, Any]

CHUNK_VALUES = 1 << 21  # features per run of the session: 8 MB of input at a time, whatever the batch
BLOCK = 256  # pictures or texts of a column that are read at once
DIGITS = 7  # what float32 holds


@dataclass(frozen=True)
class Predictor:
    """The model of one bundle folder."""

    folder: Path
    program: Any  # a Program, PictureProgram or TextProgram of core.features
    task: str
    target: str
    labels: tuple[str, ...]
    session: ort.InferenceSession
    outputs: Outputs | None = None  # bundles made before there were any have none

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Open a bundle whose files were checked against its manifest; raises BadBundle where the parts do not fit."""
        try:
            program = features.load(folder)
            answers = json.loads((folder / "labels.json").read_text())
            session = open_session(folder / "model.onnx")
            known = Outputs.from_json(json.loads(path.read_text())) if (path := folder / OUTPUTS).is_file() else None
            loaded = cls(folder, program, answers["task"], answers["target"], tuple(answers["labels"]), session, known)
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
        x_n = self.read(rows)
        return self.answers(self.scores(x_n), rows, x_n)

    @property
    def modality(self) -> str:
        """What is read: table, picture or text."""
        return str(self.program.modality)

    def read(self, rows: Sequence[Row]) -> Inputs:
        """Rows as the model reads them; texts are not padded yet. Raises as `predict` does."""
        if self.modality == "text":
            return self.program.ragged(self.program.read_rows(rows))
        return self.program.x_of_rows(rows)

    def predict_columns(self, columns: Mapping[str, Array]) -> Array:
        """Probabilities (n, k), or values (n,), of whole columns."""
        if self.modality == "table":
            score_nk = self.scores(self.program.apply(columns))
        else:
            score_nk = np.concatenate([self._no_scores, *map(self.scores, self._blocks(columns))])
        return score_nk[:, 0] if self.task == "regression" else score_nk

    def _blocks(self, columns: Mapping[str, Array]) -> Iterator[Inputs]:
        """Columns of pictures or texts, as much at once as fits the memory decoded."""
        apply = self.program.ragged if self.modality == "text" else self.program.apply
        for first in range(0, max(map(len, columns.values()), default=0), BLOCK):
            yield apply({name: column[first : first + BLOCK] for name, column in columns.items()})

    def scores(self, x_n: Inputs) -> Array:
        """What the model answers, float32 (n, k) or (n, 1); raises BadBundle for answers that are no numbers."""
        return self.run(self.answered, x_n)[0]

    def run(self, names: list[str], x_n: Inputs) -> list[Array]:
        """Outputs of the graph by name; raises BadBundle for what is no number."""
        parts = [self.session.run(names, feed) for feed in feeds(x_n, self.inputs, CHUNK_VALUES)]
        if len(parts) != 1:
            parts = [[np.concatenate([self._no_scores, *(part[at] for part in parts)]) for at in range(len(names))]]
        for values in parts[0]:
            if not np.isfinite(values).all():
                raise BadBundle(
                    "The model answered with something that is no number.", remedy="Go back to a version before."
                )
        found: list[Array] = parts[0]
        return found

    @cached_property
    def inputs(self) -> list[str]:
        """The names of what the graph reads."""
        return [given.name for given in self.session.get_inputs()]

    @cached_property
    def answered(self) -> list[str]:
        """The output that is the answer; others say how far off it may be."""
        return [self.session.get_outputs()[0].name]

    def answers(self, score_nk: Array, rows: Sequence[Row], x_n: Inputs) -> list[dict[str, Any]]:
        """Scores as the API shows them, with what was noticed in the rows that were read."""
        shown = self._shown(score_nk)
        if self.modality == "table":
            for row, column, what in self.program.noticed(rows, x_n):
                shown[row].setdefault("noticed", {})[column] = what
        return shown

    def _shown(self, score_nk: Array) -> list[dict[str, Any]]:
        if self.task == "regression":
            return [{"value": short(value)} for value in score_nk[:, 0].tolist()]
        labels = self.labels
        best_n = score_nk.argmax(axis=1).tolist()
        shown_nk = np.round(score_nk.astype(np.float64), DIGITS).tolist()
        shown: list[dict[str, Any]] = [
            {"label": labels[best], "probabilities": dict(zip(labels, shown_k, strict=True))}
            for best, shown_k in zip(best_n, shown_nk, strict=True)
        ]
        if self.rule is not None:
            place, threshold, told = self.rule
            for item, p in zip(shown, score_nk[:, place].tolist(), strict=True):
                item["decision"] = {"act": p >= threshold, **told}
        return shown

    @cached_property
    def rule(self) -> tuple[int, float, dict[str, Any]] | None:
        """The place of the label to act on, the probability from which to act, and both as the API shows them."""
        if self.outputs is None or self.outputs.decision is None:
            return None
        label, threshold = self.outputs.decision.positive, self.outputs.decision.threshold
        return self.labels.index(label), threshold, {"threshold": short(threshold), "label": label}

    @property
    def _no_scores(self) -> Array:
        return np.empty((0, max(1, len(self.labels))), dtype=np.float32)

    def _check(self) -> None:
        """Compare the sizes, where the graph states them; texts are of any length."""
        given, outputs = self.session.get_inputs()[0].shape[1:], self.session.get_outputs()[0].shape[1]
        wanted, answers = self._sizes, max(1, len(self.labels))
        stated = all(isinstance(size, int) for size in given)
        if (wanted and stated and given != wanted) or (isinstance(outputs, int) and outputs != answers):
            raise BadBundle(
                f"model.onnx maps {given} features to {outputs} outputs; "
                f"features.json gives {wanted} and labels.json asks for {answers}.",
                remedy="Train again.",
            )
        self._check_outputs()

    @property
    def _sizes(self) -> list[int]:
        """The axes of a row, none where they may change."""
        if self.modality == "text":
            return []
        return [self.program.width] if self.modality == "table" else [*self.program.shape]

    def _check_outputs(self) -> None:
        """Compare outputs.json with the graph and the labels."""
        learned = self.outputs
        if learned is None:
            return
        named, rule = [output.name for output in self.session.get_outputs()], learned.decision
        wrong = {
            f"is of a {learned.task} model, labels.json of a {self.task} one": learned.task != self.task,
            "needs the output 'spread', which model.onnx lacks": learned.normalised and "spread" not in named,
            "acts on a label that labels.json lacks": rule is not None and rule.positive not in self.labels,
        }
        for what, is_so in wrong.items():
            if is_so:
                raise BadBundle(f"{OUTPUTS} {what}.", remedy="Train again.")


def short(value: float) -> float:
    """A number without the digits that a float32 does not hold."""
    return float(f"{value:.{DIGITS}g}")
