"""The promotion gate: may this bundle answer for the model? Every refusal has a code and a sentence."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tidemill.core import holdout
from tidemill.core.errors import SchemaMismatch
from tidemill.serving.predictor import Predictor

# One-sided 95 % of the normal distribution: a difference inside it is called noise.
NOISE_Z = 1.645
PARITY_BOUND = 1e-4
# Looked at by one version: some 3,600 pictures of 96 x 96, and no more than a minute with a large network.
PIXELS = 1 << 25
TEXTS = 1_000  # read by one version, for the same reason
READS = {"table": "tables", "picture": "pictures", "text": "texts"}
ADVICE = {
    "table": "Look for columns that tell more about the target.",
    "picture": "Look whether the pictures are in the right classes; more of them help too.",
    "text": "Look whether the texts have the right labels; more of them help too.",
}


@dataclass(frozen=True)
class Verdict:
    """What the gate says: whether to promote, a code, a sentence, and the numbers behind it."""

    promote: bool
    code: str
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)


def judge(challenger: Path, champion: Path | None, *, better: bool = False, seen: str = "") -> Verdict:
    """Judge a challenger's folder against the trivial baseline and, where one serves, the champion on the same rows.

    Both folders must have passed manifest.check. The rows are the challenger's own test split; rows are split by
    their content, so the champion has not trained on them either, unless `seen` says why it may have.
    A challenger that nobody sent but a clock must be `better` than the champion by more than chance; another must not
    be worse by more than chance.
    """
    parity = json.loads((challenger / "parity.json").read_text())
    if not parity["max_abs_difference"] <= PARITY_BOUND:
        return Verdict(
            False,
            "PARITY",
            f"The exported model differs from the trained one by {parity['max_abs_difference']:.2g}; "
            f"at most {PARITY_BOUND:g} is allowed.",
        )
    new = Predictor.load(challenger)
    columns, target = holdout.load(challenger / "holdout.npz")
    columns, target = _some(_places(new, len(target)), columns, target)
    losses = row_losses(new, new.predict_columns(columns), target)
    trivial = _compare(losses, trivial_losses(new, target))
    numbers = {"rows": len(losses), "loss": float(losses.mean()), "against_trivial": trivial}
    if not trivial["difference"] < 0:
        return Verdict(
            False,
            "NOT_BETTER_THAN_TRIVIAL",
            f"On {len(losses)} test rows the loss is {losses.mean():.4g}; always giving the same answer "
            f"has {losses.mean() - trivial['difference']:.4g}. {ADVICE[new.modality]}",
            numbers,
        )
    if champion is None:
        return Verdict(True, "FIRST", "The first version that beats the trivial answer.", numbers)
    return _against(champion, new, columns, target, losses, numbers, better, seen)


def _places(predictor: Predictor, rows: int) -> Any:
    """The rows to judge by: of many pictures or texts some at equal distances, because rows may be sorted by class."""
    most = {"table": rows, "text": TEXTS, "picture": PIXELS}[predictor.modality]
    if predictor.modality == "picture":
        most = max(1, most // math.prod(predictor.program.size))
    return np.linspace(0, rows - 1, min(rows, most)).round().astype(int)


def _some(at: Any, columns: dict[str, Any], target: Any) -> tuple[dict[str, Any], Any]:
    return {name: values[at] for name, values in columns.items()}, target[at]


def _against(
    champion: Path,
    new: Predictor,
    columns: Any,
    target: Any,
    losses: Any,
    numbers: dict[str, Any],
    better: bool,
    seen: str,
) -> Verdict:
    old = Predictor.load(champion)
    if (old.task, list(old.labels)) != (new.task, list(new.labels)):
        return Verdict(
            False,
            "TARGET_CHANGED",
            f"The champion answers {_answers(old)}, the new version {_answers(new)}; callers would be surprised. "
            "Promote it by hand if that is meant.",
            numbers,
        )
    if old.modality != new.modality:
        return Verdict(
            False,
            "COLUMNS_CHANGED",
            f"The champion reads {READS[old.modality]}, the new version {READS[new.modality]}, so callers would have "
            "to change. Promote it by hand if that is meant.",
            numbers,
        )
    at = _places(old, len(target))
    (columns, target), losses = _some(at, columns, target), losses[at]
    try:
        old_scores = old.predict_columns(columns)
    except SchemaMismatch as error:
        return Verdict(
            False,
            "COLUMNS_CHANGED",
            f"The champion cannot read the new rows ({error.message}), so callers would have to change. "
            "Promote it by hand if that is meant.",
            numbers,
        )
    missing = sorted(set(new.program.columns) - set(old.program.columns))
    if missing:
        return Verdict(
            False,
            "COLUMNS_CHANGED",
            f"The new version also needs {', '.join(missing[:5])}, which callers of the champion do not send. "
            "Promote it by hand if that is meant.",
            numbers,
        )
    against = _compare(losses, row_losses(old, old_scores, target))
    verdict = _weighed(losses, against, {**numbers, "against_champion": against}, better)
    if not (seen := seen or _read_otherwise(old, new)):
        return verdict
    note = f"{seen}, so it may have trained on some of these rows, which flatters it."
    return replace(verdict, message=f"{verdict.message} {note}", evidence={**verdict.evidence, "seen": seen})


def _weighed(losses: Any, against: dict[str, float], numbers: dict[str, Any], better: bool) -> Verdict:
    """Whether the difference of the losses is beyond noise, and whether it has to be."""
    difference, noise = against["difference"], NOISE_Z * against["standard_error"]
    said = f"On the same {len(losses)} rows the loss is {losses.mean():.4g}, the champion's "
    said += f"{losses.mean() - difference:.4g}"
    if difference - noise > 0:
        return Verdict(False, "WORSE_THAN_CHAMPION", f"{said}: worse by more than chance.", numbers)
    if not better:
        return Verdict(True, "NOT_WORSE", "Not worse than the champion on the same rows.", numbers)
    if difference + noise < 0:
        return Verdict(True, "BETTER", f"{said}: better by more than chance.", numbers)
    why = "within chance. Nobody changed data or recipe, so the champion stays."
    return Verdict(False, "NOT_BETTER", f"{said}: {why}", numbers)


def _read_otherwise(old: Predictor, new: Predictor) -> str:
    """Columns that two tables' programs read as something else: their rows have other hashes, and other splits."""
    if new.modality != "table":
        return ""
    kinds = {column.name: type(column) for column in old.program.inputs}
    changed = [column.name for column in new.program.inputs if kinds.get(column.name) is not type(column)]
    return f"The champion reads {', '.join(changed[:5])} as something else" if changed else ""


def row_losses(predictor: Predictor, scores: Any, target: Any) -> Any:
    """Per row: -ln of the probability given to the true label (n,), or the squared error (n,)."""
    if predictor.task == "regression":
        return np.square(np.asarray(scores, np.float64).reshape(-1) - np.asarray(target, np.float64))
    column = {label: index for index, label in enumerate(predictor.labels)}
    picked = [scores[row, column[label]] if label in column else 0.0 for row, label in enumerate(target)]
    return -np.log(np.clip(np.asarray(picked, np.float64), 1e-7, 1.0))


def trivial_losses(predictor: Predictor, target: Any) -> Any:
    """The loss of always answering the test rows' own mean, or their label shares: the best constant there is."""
    if predictor.task == "regression":
        values = np.asarray(target, np.float64)
        return np.square(values - values.mean())
    _, inverse, counts = np.unique(np.asarray(target, dtype=str), return_inverse=True, return_counts=True)
    return -np.log(counts / counts.sum())[inverse]


def _compare(ours: Any, theirs: Any) -> dict[str, float]:
    difference = ours - theirs
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    return {"difference": float(difference.mean()), "standard_error": error if math.isfinite(error) else 0.0}


def _answers(predictor: Predictor) -> str:
    return "numbers" if predictor.task == "regression" else "/".join(list(predictor.labels)[:5])
