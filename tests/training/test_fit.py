"""From a dataset folder to a bundle: complete, proved, the same every time, interrupted or not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tidemill.core import holdout, manifest, metrics, reference
from tidemill.core.errors import BadBundle, BadSpec
from tidemill.core.features import Program
from tidemill.core.prepare import prepare
from tidemill.core.progress import Progress
from tidemill.core.spec import Data, Spec, Train
from tidemill.training import parity
from tidemill.training.checkpoint import Interrupted
from tidemill.training.export.parity import session
from tidemill.training.fit import fit_bundle

SPEC = Spec(data=Data(target="income"), train=Train(epochs=4, patience=4, members=2))
RUN = {"model": "adult", "run": "r-1", "dataset": "d-1", "fingerprint": "f-1"}
FILES = {
    *("model.onnx", "explain.onnx", "weights.bin", "features.json", "labels.json", "metrics.json", "parity.json"),
    *("reference.npz", "holdout.npz", "card.json", "card.html", "MANIFEST.json"),
}
DATED = {"card.json", "card.html", "MANIFEST.json"}  # they tell when the run was and how long it took


@pytest.fixture(scope="module")
def told() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def bundle(adult: Path, tmp_path_factory: pytest.TempPathFactory, told: list[Progress]) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    fit_bundle(adult, SPEC, folder, progress=told.append, run=RUN)
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_bundle_is_complete_and_its_manifest_names_its_origin(bundle: Path) -> None:
    named = manifest.check(bundle)
    assert {path.name for path in bundle.iterdir()} == FILES
    assert named["kind"] == "bundle"
    assert {key: named[key] for key in RUN} == RUN
    assert {entry["name"] for entry in named["files"]} == FILES - {"MANIFEST.json"}


def test_the_exported_files_alone_give_the_scores_that_were_reported(bundle: Path) -> None:
    program = Program.from_json(read(bundle / "features.json"))
    answers = read(bundle / "labels.json")
    columns, target = holdout.load(bundle / "holdout.npz")
    p_nk = session(bundle / "model.onnx").run(["probabilities"], {"x": program.apply(columns)})[0]
    y_n = np.array([answers["labels"].index(label) for label in target])
    told = read(bundle / "metrics.json")["metrics"]
    for name, value in metrics.values(answers["task"], y_n, p_nk).items():
        assert value == pytest.approx(told[name]["value"], rel=1e-4), name
    assert told["log_loss"]["high"] < told["log_loss"]["baseline"]


def test_exported_explanations_add_up(bundle: Path) -> None:
    program = Program.from_json(read(bundle / "features.json"))
    x_nf = program.apply(holdout.load(bundle / "holdout.npz")[0])[:20]
    inputs = {"x": x_nf, "target": np.tile(np.array([0, 1], np.float32), (20, 1))}
    contribution_nf, prediction_n, baseline_n = session(bundle / "explain.onnx").run(None, inputs)
    assert contribution_nf.shape == x_nf.shape
    assert np.allclose(contribution_nf.sum(1), prediction_n - baseline_n, atol=1e-5)
    answer_n = session(bundle / "model.onnx").run(None, {"x": x_nf})[0][:, 1]
    assert np.allclose(prediction_n, answer_n, atol=1e-5)


def test_both_graphs_share_one_file_of_weights(bundle: Path) -> None:
    models = [onnx.load(bundle / name, load_external_data=False) for name in ("model.onnx", "explain.onnx")]
    places = [
        {tuple(sorted((e.key, e.value) for e in t.external_data)) for t in m.graph.initializer if t.external_data}
        for m in models
    ]
    assert places[0] & places[1]
    assert (bundle / "model.onnx").stat().st_size < 20_000


def test_parity_and_completeness_are_told(bundle: Path) -> None:
    told = read(bundle / "parity.json")
    assert told["max_abs_difference"] <= told["bound"] == parity.BOUND
    assert told["explain"]["p99"] <= 1e-2
    assert told["completeness"]["before_spreading"]["p99"] <= 0.02
    assert told["batches"] == [1, 2, 3, 7, 64]


def test_the_reference_knows_columns_target_and_scores(bundle: Path) -> None:
    seen = reference.load(bundle / "reference.npz")
    assert seen.target.levels == ("<=50K", ">50K")
    assert [score.name for score in seen.scores] == ["<=50K", ">50K"]
    assert "age" in {column.name for column in seen.columns}


def test_the_card_has_importance_history_and_examples_that_add_up(bundle: Path) -> None:
    card = read(bundle / "card.json")
    assert len(card["history"]) == 4
    assert card["importance"][0]["importance"] > 0
    assert card["request"].keys() == set(Program.from_json(read(bundle / "features.json")).columns)
    for example in card["explanations"]:
        total = sum(part["contribution"] for part in example["contributions"])
        assert total == pytest.approx(example["prediction"] - example["baseline"], abs=1e-4)


def test_progress_goes_through_the_stages_in_order(bundle: Path, told: list[Progress]) -> None:
    stages = list(dict.fromkeys(report.stage for report in told))
    assert stages == ["features", "training", "evaluating", "exporting", "proving", "writing"]
    steps = [report for report in told if report.stage == "training" and report.steps]
    assert [report.step for report in steps] == [1, 2, 3, 4]
    assert "validation log loss" in steps[-1].message


def test_interrupted_and_resumed_gives_the_same_files(adult: Path, bundle: Path, tmp_path: Path) -> None:
    saved: list[Path] = []
    asked = iter([False, False, True])
    with pytest.raises(Interrupted):
        fit_bundle(
            adult,
            SPEC,
            tmp_path / "out",
            checkpoint_dir=tmp_path / "checkpoints",
            on_checkpoint=saved.append,
            stop=lambda: next(asked),
        )
    assert not (tmp_path / "out").exists()
    assert [path.name for path in saved] == ["000002-000000"]
    steps: list[int] = []
    fit_bundle(
        adult,
        SPEC,
        tmp_path / "out",
        checkpoint_dir=tmp_path / "checkpoints",
        progress=lambda report: steps.append(report.step) if report.steps else None,
    )
    assert steps == [3, 4]
    for name in FILES - DATED:
        assert (tmp_path / "out" / name).read_bytes() == (bundle / name).read_bytes(), name


def test_a_file_that_answers_otherwise_makes_no_bundle(
    adult: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidemill.training import evaluate
    from tidemill.training.loop import predict

    monkeypatch.setattr(
        evaluate.Model, "predict", lambda self, x: predict(self.kind, self.weights, self.scale, x * 1.01)
    )
    with pytest.raises(BadBundle, match=r"model\.onnx differs") as caught:
        fit_bundle(adult, SPEC, tmp_path)
    assert caught.value.code == "PARITY"
    assert not (tmp_path / "MANIFEST.json").exists()


def test_an_unknown_family_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match="family"):
        fit_bundle(tmp_path / "no dataset", Spec(train=Train(family="forest")), tmp_path / "out")


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_other_tasks_make_bundles_too(tmp_path: Path, task: str) -> None:
    rng = np.random.default_rng(0)
    size, when = rng.normal(size=400), rng.integers(0, 700, 400)
    colour = rng.choice(["red", "green", ""], 400)
    value = np.exp(0.5 * size + (colour == "red") + 0.1 * rng.normal(size=400) + 8)
    said = value if task == "regression" else np.array(["low", "mid", "high"])[np.digitize(value, [2500, 5000])]
    rows = zip(size, np.datetime64("2024-01-01") + when, colour, said, strict=True)
    path = tmp_path / "table.csv"
    path.write_text("size,day,colour,y\n" + "".join(f"{s:.4f},{d},{c},{y}\n" for s, d, c, y in rows))
    spec = Spec(data=Data(target="y"), train=Train(epochs=8, patience=8, members=2, learning_rate=1e-2))
    prepare(path, path.name, spec, tmp_path / "dataset", model="m")
    report = fit_bundle(tmp_path / "dataset", spec, tmp_path / "bundle")
    manifest.check(tmp_path / "bundle")
    primary = report["metrics"][report["primary"]]
    assert report["task"] == task
    assert primary["value"] < primary["baseline"]
    assert all(math.isfinite(entry["validation_loss"]) for entry in report["history"])
    request = read(tmp_path / "bundle" / "card.json")["request"]
    assert Program.from_json(read(tmp_path / "bundle" / "features.json")).x_of_rows([request]).shape[0] == 1
