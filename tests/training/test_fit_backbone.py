"""From a zip of pictures and a backbone to a bundle: features computed once, graphs proven, what is missed is named."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.core.pictures import drawn, encoded, zipped
from tests.doubles.plane import DATA, MemoryS3
from tests.training.lite import TINY, arrays, saved

from tidemill.core import features, holdout, manifest
from tidemill.core.errors import BadBackbone, NotFound
from tidemill.core.prepare import prepare
from tidemill.core.spec import Data, Search, Spec, Train
from tidemill.core.storage import Storage
from tidemill.training import dataset, fit, frozen, job
from tidemill.training.checkpoint import Interrupted
from tidemill.training.export.parity import session
from tidemill.training.families import efficientnet
from tidemill.training.fit import fit_bundle

SPEC = Spec(data=Data(size=24), train=Train(family="backbone", backbone="tiny"))
BESIDE = Spec(data=Data(size=24), train=Train(backbone="tiny", epochs=2), search=Search(configurations=1))


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network; examples and cards have tests of their own."""
    monkeypatch.setattr(efficientnet, "LAYOUT", TINY)
    monkeypatch.setattr(fit, "examples_of", lambda *_: {})
    monkeypatch.setattr(fit.bundle, "save_card", lambda *_, **__: None)


@pytest.fixture(scope="module")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of dark and of bright pictures."""
    folder = tmp_path_factory.mktemp("stamps")
    members = {
        f"{'dark' if at % 2 else 'bright'}/{at}.png": encoded(drawn(at) // 2 + (0 if at % 2 else 110))
        for at in range(80)
    }
    (folder / "stamps.zip").write_bytes(zipped(members))
    prepare(folder / "stamps.zip", "stamps.zip", SPEC, folder / "dataset", model="stamps")
    return folder / "dataset"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("backbone"), arrays())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures the network was shown, time after time."""
    counts: list[int] = []
    really = efficientnet.frozen

    def counted(net: Any, x_nhwc: Any) -> Any:
        counts.append(len(x_nhwc))
        return really(net, x_nhwc)

    monkeypatch.setattr(efficientnet, "frozen", counted)
    frozen.kept_of.cache_clear()
    return counts


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def test_a_bundle_stands_on_a_backbone_alone(stamps: Path, weights: Path, tmp_path: Path, asked: list[int]) -> None:
    report = fit_bundle(stamps, SPEC, tmp_path, backbone_dir=weights)
    told = manifest.check(tmp_path)
    assert len(told["backbone"]) == 64
    assert told["train"]["backbone"] == "tiny"
    search = read(tmp_path, "search.json")
    assert {trial["family"] for trial in search["trials"]} == {"backbone"}
    assert search["folds"] == 4
    assert report["metrics"]["accuracy"]["value"] >= 0.8
    data = dataset.load(stamps, SPEC)
    contents = {row.tobytes() for part in (data.train, data.validation, data.test) for row in part.x_n}
    assert len(contents) <= sum(asked) <= len(contents) + 2  # and the edges of the proof
    proof = read(tmp_path, "parity.json")
    assert proof["max_abs_difference"] <= proof["bound"]
    assert proof["explain"]["origin"].startswith("an even grey picture")


def test_the_file_answers_from_pixels_as_the_model_did(stamps: Path, weights: Path, tmp_path: Path) -> None:
    fit_bundle(stamps, SPEC, tmp_path, backbone_dir=weights)
    columns, target = holdout.load(tmp_path / "holdout.npz")
    program = features.load(tmp_path)
    assert program.shape == (24, 24, 3)
    (p_nk,) = session(tmp_path / "model.onnx").run(None, {"x": program.apply(columns)})
    labels = read(tmp_path, "labels.json")["labels"]
    right = np.array([labels[at] for at in p_nk.argmax(1)]) == target
    assert right.mean() == pytest.approx(read(tmp_path, "metrics.json")["metrics"]["accuracy"]["value"])


@pytest.mark.slow
def test_beside_it_a_net_is_trained_and_what_is_better_answers(stamps: Path, weights: Path, tmp_path: Path) -> None:
    fit_bundle(stamps, BESIDE, tmp_path, backbone_dir=weights)
    search = read(tmp_path, "search.json")
    assert {trial["family"] for trial in search["trials"]} == {"cnn2", "backbone"}
    losses = {trial["family"]: trial["loss"] for trial in search["trials"]}
    assert search["loss"] <= min(losses.values()) + 1e-6


def test_an_interruption_while_features_are_computed_is_no_loss(
    stamps: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[int]
) -> None:
    monkeypatch.setattr(frozen, "ASKED", 16)
    turns = iter([False, True])
    with pytest.raises(Interrupted):
        fit_bundle(stamps, SPEC, tmp_path / "a", backbone_dir=weights, stop=lambda: next(turns))
    assert sum(asked) == 32
    fit_bundle(stamps, SPEC, tmp_path / "b", backbone_dir=weights)
    assert read(tmp_path / "b", "search.json")["blend"]


def test_weights_of_another_network_end_the_run_before_anything_is_read(
    stamps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit.dataset, "load", lambda *_: pytest.fail("the dataset was read"))
    other = saved(tmp_path / "other", {"features.0.weight": np.zeros((64, 3, 3, 3), np.float32)})
    with pytest.raises(BadBackbone, match=r"conv_stem\.weight") as caught:
        fit_bundle(stamps, SPEC, tmp_path / "out", backbone_dir=other)
    assert caught.value.status < 500
    with pytest.raises(NotFound):
        fit_bundle(stamps, SPEC, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- the job ----------------------------------------------------------------------------------------------------------


def test_the_job_fetches_what_the_specification_names(tmp_path: Path) -> None:
    s3, heart = MemoryS3(), SimpleNamespace(report=lambda progress: None)
    artifacts, names = Storage("artifacts", s3), {"TIDEMILL_DATA_BUCKET": DATA}
    run = {"spec": SPEC.to_json()}
    with pytest.raises(NotFound, match="no backbone 'tiny'") as caught:
        job._fetch_backbone(run, artifacts, heart, tmp_path, names)  # type: ignore[arg-type]
    assert caught.value.code == "UNKNOWN_BACKBONE"
    s3.objects[DATA, "backbones/tiny/model.safetensors"] = b"weights"
    folder = job._fetch_backbone(run, artifacts, heart, tmp_path, names)  # type: ignore[arg-type]
    assert folder and (folder / "model.safetensors").read_bytes() == b"weights"
    assert job._fetch_backbone({"spec": Spec().to_json()}, artifacts, heart, tmp_path, names) is None  # type: ignore[arg-type]


def test_a_backbone_that_is_missed_fails_the_run_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[Any] = []
    registry = SimpleNamespace(
        run=lambda model, run: {"state": "RUNNING", "epoch": 1},
        advance=lambda model, run, state, **more: ended.append((state, more["reason"])),
    )
    missed = NotFound("There is no backbone 'tiny'.", code="UNKNOWN_BACKBONE", remedy="Add it.")
    run = {"model": "stamps", "run": "r-1", "epoch": 1}
    with caplog.at_level(logging.ERROR):
        code = job._ended_badly(run, registry, SimpleNamespace(lost=False), missed)  # type: ignore[arg-type]
    assert code == job.BAD_DATA
    assert ended == [("FAILED", missed.reason())]
