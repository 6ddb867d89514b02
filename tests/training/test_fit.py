"""From a dataset folder to a bundle: complete, proved, the same every time, interrupted or not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.training.test_search import check_record

from tidemill.core import features, holdout, manifest, metrics, reference
from tidemill.core.errors import BadBundle, BadSpec, BadTable
from tidemill.core.features import Program
from tidemill.core.outputs import Outputs
from tidemill.core.prepare import prepare
from tidemill.core.progress import Progress
from tidemill.core.spec import Data, Decision, Search, Spec, Train
from tidemill.serving.predictor import Predictor
from tidemill.training import dataset, evaluate, fit, honest, parity
from tidemill.training.checkpoint import Interrupted
from tidemill.training.evaluate import Model
from tidemill.training.export.parity import session
from tidemill.training.fit import fit_bundle, folds_of

TRAIN = {"epochs": 3, "patience": 3, "members": 2, "width": 16, "batch_size": 256}
SPEC = Spec(data=Data(target="income"), train=Train(**TRAIN), search=Search(configurations=2))
RUN = {"model": "adult", "run": "r-1", "dataset": "d-1", "fingerprint": "f-1"}
MODEL = {"model.onnx", "explain.onnx", "weights.bin", "features.json", "labels.json", "outputs.json"}
FACTS = {"metrics.json", "parity.json", "search.json", "reference.npz", "holdout.npz"}
DATED = {"card.json", "card.html"}  # they tell when the run was and how long it took


class Seen:
    """A bundle, and what was told and known while it was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[Progress] = []
        self.asked = 0
        self.model: Model
        self.report: dict[str, Any] = {}

    def stop(self) -> bool:
        """Counts the chances to stop."""
        self.asked += 1
        return False

    def read(self, name: str) -> Any:
        """A JSON file of the bundle."""
        return json.loads((self.folder / name).read_text())

    @property
    def program(self) -> Program:
        """Its features."""
        return Program.from_json(self.read("features.json"))

    @property
    def test_x(self) -> Any:
        """Its test rows as features."""
        return self.program.apply(holdout.load(self.folder / "holdout.npz")[0])


def made(rows: Path, spec: Spec, folder: Path, **more: Any) -> Seen:
    """Fit, and keep the model that was exported."""
    seen, complete = Seen(folder), honest.complete
    with pytest.MonkeyPatch.context() as patch:

        def kept(*args: Any) -> Any:
            seen.model, outputs = complete(*args)
            return seen.model, outputs

        patch.setattr(fit.honest, "complete", kept)
        seen.report = fit_bundle(rows, spec, folder, progress=seen.told.append, **{"stop": seen.stop, **more})
    return seen


@pytest.fixture(scope="module")
def adults(adult: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return made(adult, SPEC, tmp_path_factory.mktemp("bundle"), run=RUN)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by file, as the manifest has it, without the card that tells the date."""
    return {e["name"]: e["sha256"] for e in manifest.read(folder)["files"] if e["name"] not in DATED}


# --- what is in it ----------------------------------------------------------------------------------------------------


def test_a_bundle_is_complete_and_its_manifest_names_its_origin(adults: Seen) -> None:
    named = manifest.check(adults.folder)
    assert named["kind"] == "bundle"
    assert {key: named[key] for key in RUN} == RUN
    assert {entry["name"] for entry in named["files"]} == MODEL | FACTS | DATED
    assert {path.name for path in adults.folder.iterdir()} == MODEL | FACTS | DATED | {"MANIFEST.json"}
    assert named["train"]["width"] == 16
    assert named["search"]["configurations"] == 2


def test_the_exported_files_alone_give_the_scores_that_were_reported(adults: Seen) -> None:
    answers = adults.read("labels.json")
    _, target = holdout.load(adults.folder / "holdout.npz")
    p_nk = session(adults.folder / "model.onnx").run(["probabilities"], {"x": adults.test_x})[0]
    y_n = np.array([answers["labels"].index(label) for label in target])
    told = adults.read("metrics.json")["metrics"]
    for name, value in metrics.values(answers["task"], y_n, p_nk).items():
        assert value == pytest.approx(told[name]["value"], rel=1e-4), name
    assert told["log_loss"]["high"] < told["log_loss"]["baseline"]
    assert adults.report == adults.read("metrics.json")


def test_serving_answers_as_the_trained_model_does(adults: Seen) -> None:
    served = Predictor.load(adults.folder)
    columns, _ = holdout.load(adults.folder / "holdout.npz")
    expected_nk = adults.model.answers(adults.test_x)
    assert len(adults.model.parts) >= 1
    assert np.abs(served.predict_columns(columns) - expected_nk).max() <= parity.BOUND
    request = adults.read("card.json")["request"]
    answer = served.predict([request])[0]
    assert list(answer["probabilities"].values()) == pytest.approx(expected_nk[0].tolist(), abs=parity.BOUND)


def test_the_search_is_told_whole(adults: Seen) -> None:
    record = adults.read("search.json")
    check_record(record)
    assert {trial["family"] for trial in record["trials"]} == {"linear", "mlp", "tabm"}
    assert [part.id for part in adults.model.parts] == [part["id"] for part in record["blend"]]
    assert record["score"] == "validation log loss"
    best = max(record["trials"], key=lambda trial: trial["share"])
    assert adults.report["history"] == best["curve"]


def test_outputs_hold_the_calibration_that_is_in_the_model(adults: Seen) -> None:
    outputs = Outputs.from_json(adults.read("outputs.json"))
    assert outputs.calibration == adults.model.calibration
    assert outputs.rows > 300
    assert outputs.offered
    assert set(adults.report["outputs"]) >= {"calibration"}


def test_exported_explanations_add_up(adults: Seen) -> None:
    x_nf = adults.test_x[:20]
    inputs = {"x": x_nf, "target": np.tile(np.array([0, 1], np.float32), (20, 1))}
    contribution_nf, prediction_n, baseline_n = session(adults.folder / "explain.onnx").run(None, inputs)
    assert contribution_nf.shape == x_nf.shape
    assert np.allclose(contribution_nf.sum(1), prediction_n - baseline_n, atol=1e-5)
    answer_n = session(adults.folder / "model.onnx").run(None, {"x": x_nf})[0][:, 1]
    assert np.allclose(prediction_n, answer_n, atol=1e-5)


def test_both_graphs_share_one_file_of_weights(adults: Seen) -> None:
    models = [onnx.load(adults.folder / name, load_external_data=False) for name in ("model.onnx", "explain.onnx")]
    places = [
        {tuple(sorted((e.key, e.value) for e in t.external_data)) for t in m.graph.initializer if t.external_data}
        for m in models
    ]
    assert places[0] & places[1]
    assert (adults.folder / "model.onnx").stat().st_size < (adults.folder / "weights.bin").stat().st_size


def test_parity_and_completeness_are_told(adults: Seen) -> None:
    told = adults.read("parity.json")
    assert told["max_abs_difference"] <= told["bound"] == parity.BOUND
    assert told["batches"] == list(parity.BATCHES)
    assert told["explain"]["p99"] <= 1e-2


def test_the_reference_knows_columns_target_and_scores(adults: Seen) -> None:
    seen = reference.load(adults.folder / "reference.npz")
    assert seen.target.levels == ("<=50K", ">50K")
    assert [score.name for score in seen.scores] == ["<=50K", ">50K"]
    assert "age" in {column.name for column in seen.columns}


def test_the_card_has_importance_history_and_examples_that_add_up(adults: Seen) -> None:
    card = adults.read("card.json")
    assert len(card["history"]) == 3
    assert card["importance"][0]["importance"] > 0
    assert card["request"].keys() == set(adults.program.columns)
    for example in card["explanations"]:
        total = sum(part["contribution"] for part in example["contributions"])
        assert total == pytest.approx(example["prediction"] - example["baseline"], abs=1e-4)


def test_progress_goes_through_the_stages_in_order(adults: Seen) -> None:
    stages = list(dict.fromkeys(report.stage for report in adults.told))
    assert stages == ["features", "training", "blending", "evaluating", "exporting", "proving", "writing"]
    steps = [report for report in adults.told if report.stage == "training" and report.steps]
    assert [report.step for report in steps] == sorted(report.step for report in steps)
    assert len(steps) == 9
    assert "validation log loss" in steps[-1].message


# --- again, and otherwise ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resumed(adult: Path, adults: Seen, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Interrupted in the middle of the second family, and gone on with."""
    folder = tmp_path_factory.mktemp("resumed")
    saved: list[Path] = []
    asked = iter([False] * 4 + [True])
    with pytest.raises(Interrupted):
        fit_bundle(
            adult,
            SPEC,
            folder / "out",
            checkpoint_dir=folder / "checkpoints",
            on_checkpoint=saved.append,
            stop=lambda: next(asked),
        )
    assert not (folder / "out").exists()
    assert [path.name for path in saved] == ["000000004"]
    return made(adult, SPEC, folder / "out", checkpoint_dir=folder / "checkpoints", run=RUN)


def test_interrupted_and_resumed_gives_the_same_files_with_what_was_left_to_do(adults: Seen, resumed: Seen) -> None:
    assert resumed.asked == adults.asked - 4
    assert hashes(resumed.folder) == hashes(adults.folder)
    assert resumed.report == adults.report


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(adult: Path, adults: Seen, tmp_path: Path) -> None:
    again = made(adult, SPEC, tmp_path / "again", run=RUN)
    assert hashes(again.folder) == hashes(adults.folder)
    other = made(adult, Spec(SPEC.data, train=Train(**TRAIN, seed=1), search=SPEC.search), tmp_path / "other", run=RUN)
    differing = {name for name, sha in hashes(other.folder).items() if sha != hashes(adults.folder)[name]}
    assert differing >= {"weights.bin", "metrics.json", "search.json", "outputs.json", "parity.json"}
    assert not differing & {"features.json", "labels.json", "holdout.npz"}


def test_a_file_that_answers_otherwise_makes_no_bundle(
    adult: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = evaluate.Model.raw
    monkeypatch.setattr(evaluate.Model, "raw", lambda self, x: raw(self, x * 1.01))
    quick = Spec(SPEC.data, train=Train(**{**TRAIN, "epochs": 1, "family": "linear"}), search=SPEC.search)
    with pytest.raises(BadBundle, match=r"model\.onnx differs") as caught:
        fit_bundle(adult, quick, tmp_path)
    assert caught.value.code == "PARITY"
    assert not (tmp_path / "MANIFEST.json").exists()


# --- what is refused --------------------------------------------------------------------------------------------------


def test_an_unknown_family_never_becomes_a_specification() -> None:
    with pytest.raises(BadSpec, match="family"):
        Spec.from_toml('[train]\nfamily = "forest"\n')


def test_an_unknown_family_is_refused_before_any_work(adult: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match="'forest'"):
        fit_bundle(adult, Spec(train=Train(family="forest")), tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_loss_that_does_not_fit_the_task_is_refused_before_any_work(adult: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match="loss is 'mae'"):
        fit_bundle(adult, Spec(train=Train(loss="mae")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_costs_of_a_label_that_is_none_are_refused_before_any_work(adult: Path, tmp_path: Path) -> None:
    costs = Decision(false_positive=1.0, false_negative=2.0, positive="rich")
    with pytest.raises(BadSpec, match="rich"):
        fit_bundle(adult, Spec(decision=costs), tmp_path / "out")


def test_a_split_without_rows_is_refused(adult: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = dataset.load_split

    def loaded(folder: Path, name: str) -> Any:
        columns, target, hashes = load(folder, name)
        few = slice(0, 0 if name == "validation" else None)
        return {key: values[few] for key, values in columns.items()}, target[few], hashes[few]

    monkeypatch.setattr(dataset, "load_split", loaded)
    with pytest.raises(BadTable, match="validation split has no rows") as caught:
        fit_bundle(adult, SPEC, tmp_path / "out")
    assert caught.value.code == "TOO_FEW_ROWS"


# --- other tasks ------------------------------------------------------------------------------------------------------


def table(path: Path, task: str, rows: int = 400) -> Path:
    """A number, a day, a colour with gaps, and what follows from them."""
    rng = np.random.default_rng(0)
    size, when = rng.normal(size=rows), rng.integers(0, 700, rows)
    colour = rng.choice(["red", "green", ""], rows)
    value = np.exp(0.5 * size + (colour == "red") + 0.1 * rng.normal(size=rows) + 8)
    said = value if task == "regression" else np.array(["low", "mid", "high"])[np.digitize(value, [2500, 5000])]
    lines = zip(size, np.datetime64("2024-01-01") + when, colour, said, strict=True)
    path.write_text("size,day,colour,y\n" + "".join(f"{s:.4f},{d},{c},{y}\n" for s, d, c, y in lines))
    return path


@pytest.fixture(scope="module", params=["regression", "multiclass"])
def others(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder, task = tmp_path_factory.mktemp(request.param), request.param
    family = {"regression": "mlp", "multiclass": "linear"}[task]
    train = Train(epochs=12, patience=12, family=family, learning_rate=1e-2, batch_size=32, width=8)
    spec = Spec(data=Data(target="y"), train=train, search=Search(configurations=2, folds=3))
    path = table(folder / "table.csv", task)
    prepare(path, path.name, spec, folder / "dataset", model="m")
    return made(folder / "dataset", spec, folder / "bundle")


def test_other_tasks_make_bundles_too(others: Seen) -> None:
    manifest.check(others.folder)
    report = others.report
    primary = report["metrics"][report["primary"]]
    assert primary["value"] < primary["baseline"]
    assert all(math.isfinite(entry["validation_loss"]) for entry in report["history"])
    check_record(others.read("search.json"))
    assert others.read("search.json")["folds"] == 3
    request = others.read("card.json")["request"]
    assert others.program.x_of_rows([request]).shape[0] == 1


def test_other_tasks_are_served_as_they_were_trained(others: Seen) -> None:
    served = Predictor.load(others.folder)
    expected_nk = others.model.answers(others.test_x)
    found_nk = served.scores(others.test_x)
    assert np.abs(found_nk - expected_nk).max() <= parity.BOUND * others.model.unit
    assert served.task == others.report["task"]
    if served.task != "regression":
        return
    assert others.model.spread is not None
    spread_n1 = served.run(["spread"], others.test_x)[0]
    assert spread_n1.shape == (len(others.test_x), 1)
    assert spread_n1.min() > 0
    assert np.allclose(spread_n1[:, 0], others.model.spread.of(expected_nk[:, 0]), rtol=1e-3)


# --- folds ------------------------------------------------------------------------------------------------------------


def test_folds_keep_equal_rows_together_and_hold_every_row_out_once() -> None:
    rng = np.random.default_rng(0)
    hashes_n = rng.integers(0, 2**63, 80, dtype=np.uint64).repeat(3)
    folds = folds_of(150, hashes_n, 5)
    assert len(folds) == 5
    assert sorted(np.concatenate([held for _, held in folds]).tolist()) == list(range(240))
    for fitted, held in folds:
        assert sorted([*fitted, *held]) == list(range(240))
        assert not set(hashes_n[fitted].tolist()) & set(hashes_n[held].tolist())
        assert abs(len(held) - 48) <= 3


def test_folds_do_not_follow_the_hashes_that_made_the_splits() -> None:
    hashes_n = np.sort(np.random.default_rng(0).integers(0, 2**63, 1000, dtype=np.uint64))
    for _, held in folds_of(700, hashes_n, 5):
        assert len(held) == 200
        assert 30 <= (held >= 700).sum() <= 90  # of 60 expected


def test_one_fold_is_the_validation_split() -> None:
    (fitted, held), *rest = folds_of(7, np.arange(10, dtype=np.uint64), 1)
    assert (fitted.tolist(), held.tolist(), rest) == ([*range(7)], [7, 8, 9], [])


def test_folds_without_rows_are_left_out() -> None:
    folds = folds_of(4, np.array([5, 5, 5, 9, 9, 9], np.uint64), 5)
    assert len(folds) == 2
    assert all(len(fitted) and len(held) for fitted, held in folds)


def test_features_are_fitted_on_training_rows_alone(adult: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    fitting = features.fit

    def fitted(columns: Any, *more: Any) -> Any:
        given.append(len(columns["age"]))
        return fitting(columns, *more)

    monkeypatch.setattr(features, "fit", fitted)
    loaded = dataset.load(adult, SPEC)
    assert given == [len(loaded.train.y_n)]
