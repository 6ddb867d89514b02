"""What the promotion gate lets through and what it refuses, each time with a reason a person understands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving import bundle_factory as factory

from tidemill.core import holdout, manifest
from tidemill.core.features import fit
from tidemill.core.spec import Spec
from tidemill.serving.gate import judge, row_losses, trivial_losses
from tidemill.serving.predictor import Predictor

ROWS = 1500


def truth_of(folder: Path, table: Any, seed: int = 5) -> Any:
    """Labels drawn from a bundle's own probabilities: for this truth that bundle is the best model there is."""
    predictor = Predictor.load(folder)
    scores = predictor.predict_columns(table)
    if predictor.task == "regression":
        return scores + np.random.default_rng(seed).normal(0, 0.1, len(scores))
    above = np.random.default_rng(seed).random(len(scores)) < scores[:, 1]
    return np.where(above, predictor.labels[1], predictor.labels[0]).astype(object)


def bundle(
    folder: Path, *, truth: Any = None, table: Any = None, weaken: float = 1.0, parity: Any = 1e-7, **how: Any
) -> Path:
    """A bundle with test rows and a parity proof; `weaken` below 1 pulls its weights towards knowing nothing."""
    factory.make(folder, **how)
    if weaken != 1.0:
        stored = np.frombuffer((folder / "weights.bin").read_bytes(), np.float32) * np.float32(weaken)
        (folder / "weights.bin").write_bytes(stored.tobytes())
    table = factory.columns(ROWS, seed=9) if table is None else table
    truth = truth_of(folder, table) if truth is None else truth
    holdout.save(folder / "holdout.npz", table, truth)
    (folder / "parity.json").write_text(json.dumps({"max_abs_difference": parity, "bound": 1e-4}))
    manifest.write(folder, "bundle", model="income", run="r-1")
    return folder


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return bundle(tmp_path / "good")


@pytest.fixture
def truth(good: Path) -> Any:
    return holdout.load(good / "holdout.npz")[1]


def test_the_first_version_better_than_the_best_constant_is_let_through(good: Path) -> None:
    verdict = judge(good, None)
    assert verdict.promote and verdict.code == "FIRST"
    assert verdict.evidence["against_trivial"]["difference"] < 0 and verdict.evidence["rows"] == ROWS


def test_a_version_that_knows_nothing_is_refused(tmp_path: Path) -> None:
    coin = np.random.default_rng(1).choice(np.array(factory.LABELS, dtype=object), ROWS)
    verdict = judge(bundle(tmp_path / "b", truth=coin), None)
    assert not verdict.promote and verdict.code == "NOT_BETTER_THAN_TRIVIAL"
    assert "always giving the same answer" in verdict.message


def test_a_version_like_the_champion_is_let_through(good: Path, tmp_path: Path, truth: Any) -> None:
    champion = bundle(tmp_path / "champion", truth=truth, weaken=0.97)
    assert judge(good, champion).code == "NOT_WORSE"
    assert judge(champion, good).code == "NOT_WORSE", "a difference within noise is no reason to refuse"


def test_a_version_trained_again_by_itself_must_be_better_by_more_than_chance(
    good: Path, tmp_path: Path, truth: Any
) -> None:
    like, weak = (bundle(tmp_path / str(by), truth=truth, weaken=by) for by in (0.97, 0.45))
    verdict = judge(good, like, better=True)
    assert (verdict.promote, verdict.code) == (False, "NOT_BETTER")
    assert "within chance" in verdict.message and judge(good, like).promote, "a person's upload needs no more"
    better = judge(good, weak, better=True)
    assert (better.promote, better.code) == (True, "BETTER")
    difference, error = (better.evidence["against_champion"][name] for name in ("difference", "standard_error"))
    assert difference + 1.645 * error < 0
    assert judge(weak, good, better=True).code == "WORSE_THAN_CHAMPION"


def test_whoever_has_seen_the_test_rows_is_named_with_the_verdict(good: Path, tmp_path: Path, truth: Any) -> None:
    like = bundle(tmp_path / "like", truth=truth, weaken=0.97)
    verdict = judge(good, like, seen="The champion's rows were divided with another [split] seed")
    assert "[split] seed, so it may have trained on some of these rows" in verdict.message
    assert verdict.evidence["seen"] and "seen" not in judge(good, like).evidence


def test_a_version_worse_than_the_champion_beyond_noise_is_refused(good: Path, tmp_path: Path, truth: Any) -> None:
    weak = bundle(tmp_path / "weak", truth=truth, weaken=0.45)
    assert judge(weak, None).promote, "alone it would do"
    verdict = judge(weak, good)
    assert not verdict.promote and verdict.code == "WORSE_THAN_CHAMPION"
    against = verdict.evidence["against_champion"]
    assert against["difference"] > 1.645 * against["standard_error"] > 0


@pytest.mark.parametrize("difference", [1.1e-4, float("nan"), float("inf")])
def test_an_export_that_differs_from_the_trained_model_is_refused(tmp_path: Path, difference: float) -> None:
    verdict = judge(bundle(tmp_path / "b", parity=difference), None)
    assert not verdict.promote and verdict.code == "PARITY"


def test_another_target_is_refused_until_a_person_agrees(good: Path, tmp_path: Path) -> None:
    other = bundle(tmp_path / "other", labels=("no", "yes"))
    verdict = judge(other, good)
    assert not verdict.promote and verdict.code == "TARGET_CHANGED"
    assert "no/yes" in verdict.message and "by hand" in verdict.message


def test_other_columns_are_refused_until_a_person_agrees(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truth: Any
) -> None:
    """In both directions: a column the champion needs is gone, or callers would have to send a new one."""
    table = factory.columns(ROWS, seed=9)
    fewer = {name: values for name, values in table.items() if name != "age"}
    described = [
        {"name": n, "kind": "number" if n == "hours" else "category", "role": "feature"} for n in ("hours", "work")
    ]
    fewer.pop("hired")
    narrow_program = fit(fewer, {"columns": described}, Spec())
    monkeypatch.setattr(factory, "program", lambda seed=0: narrow_program)
    narrow = bundle(tmp_path / "narrow", table=fewer)
    monkeypatch.undo()
    gone, added = judge(narrow, good), judge(good, narrow)
    assert (gone.code, added.code) == ("COLUMNS_CHANGED", "COLUMNS_CHANGED")
    assert "age" in gone.message and "age" in added.message


def test_regression_is_judged_by_squared_errors(tmp_path: Path) -> None:
    good = bundle(tmp_path / "good", task="regression")
    truth = holdout.load(good / "holdout.npz")[1]
    weak = bundle(tmp_path / "weak", task="regression", truth=truth, weaken=0.7)
    assert judge(good, None).code == "FIRST" and judge(good, weak).code == "NOT_WORSE"
    assert judge(weak, good).code == "WORSE_THAN_CHAMPION"


def test_losses_are_those_of_the_textbook(good: Path, truth: Any) -> None:
    predictor = Predictor.load(good)
    table = holdout.load(good / "holdout.npz")[0]
    scores = predictor.predict_columns(table)
    column = np.array([list(predictor.labels).index(label) for label in truth])
    assert row_losses(predictor, scores, truth) == pytest.approx(-np.log(scores[np.arange(ROWS), column]), rel=1e-5)
    share = (truth == predictor.labels[1]).mean()
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert trivial_losses(predictor, truth).mean() == pytest.approx(entropy)
