"""Bundles are fetched once a version, refused when a byte differs, and give their place back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.serving import bundle_factory as factory

from tidemill.core.errors import BadBundle, NotFound, Unavailable
from tidemill.serving.bundles import MOST_OPEN, Bundles

ROWS = factory.rows_of(factory.columns(3))


class Shelf:
    """Objects in memory, and what was asked for."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []

    def put(self, folder: Path, prefix: str) -> str:
        for path in folder.iterdir():
            self.objects[prefix + path.name] = path.read_bytes()
        return prefix

    def get_object(self, bucket: str, key: str) -> bytes:
        assert bucket == "artifacts"
        self.asked.append(key.rpartition("/")[2])
        if key not in self.objects:
            raise NotFound(f"There is no object {key!r}.")
        return self.objects[key]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory.make(tmp_path_factory.mktemp("made") / "bundle")


@pytest.fixture
def shelf(made: Path) -> Shelf:
    shelf = Shelf()
    shelf.put(made, "bundles/income/r-1/")
    return shelf


@pytest.fixture
def bundles(shelf: Shelf, tmp_path: Path) -> Bundles:
    return Bundles(shelf, "artifacts", tmp_path / "cache")


def test_a_version_is_fetched_once_and_only_what_predicting_needs(bundles: Bundles, shelf: Shelf) -> None:
    first = bundles.predictor("income", "bundles/income/r-1/")
    assert bundles.predictor("income", "bundles/income/r-1/") is first
    assert sorted(shelf.asked) == ["MANIFEST.json", "features.json", "labels.json", "model.onnx", "weights.bin"]
    assert first.predict(ROWS)


def test_the_explanation_graph_comes_with_the_first_explanation(bundles: Bundles, shelf: Shelf) -> None:
    for _ in range(2):
        assert bundles.predictor("income", "bundles/income/r-1/", explain=True).explain_session
    assert shelf.asked.count("explain.onnx") == 1


def test_a_new_version_takes_the_place_of_the_old_one(bundles: Bundles, shelf: Shelf, tmp_path: Path) -> None:
    shelf.put(factory.make(tmp_path / "other", seed=1), "bundles/income/r-2/")
    old = bundles.predictor("income", "bundles/income/r-1/")
    new = bundles.predictor("income", "bundles/income/r-2/")
    assert new.predict(ROWS) != old.predict(ROWS)  # who still holds the old one can still use it
    assert list((tmp_path / "cache" / "bundles_income_r-1").iterdir()) == []
    assert bundles.predictor("income", "bundles/income/r-1/").predict(ROWS) == old.predict(ROWS)


def test_a_version_beside_the_one_in_service_stays_open_while_it_is_wanted(bundles: Bundles, shelf: Shelf) -> None:
    for run in ("r-2", "r-3"):
        for path in [key for key in shelf.objects if key.startswith("bundles/income/r-1/")]:
            shelf.objects[path.replace("r-1", run)] = shelf.objects[path]
    champion, challenger, later = (f"bundles/income/{run}/" for run in ("r-1", "r-2", "r-3"))
    both = [bundles.predictor("income", bundle, beside=(champion, challenger)) for bundle in (champion, challenger)]
    shelf.asked.clear()
    for _ in range(3):
        again = [
            bundles.predictor("income", bundle, beside=(champion, challenger)) for bundle in (champion, challenger)
        ]
        assert again[0] is both[0] and again[1] is both[1]
    assert shelf.asked == []
    bundles.predictor("income", later)
    assert list(bundles.opened) == [later]


def test_files_on_the_disk_are_used_if_their_hash_is_right(shelf: Shelf, tmp_path: Path) -> None:
    Bundles(shelf, "artifacts", tmp_path).predictor("income", "bundles/income/r-1/")
    (tmp_path / "bundles_income_r-1" / "labels.json").write_bytes(b"{}")
    shelf.asked.clear()
    Bundles(shelf, "artifacts", tmp_path).predictor("income", "bundles/income/r-1/")
    assert shelf.asked == ["MANIFEST.json", "labels.json"]


def test_only_a_few_models_stay_open(bundles: Bundles, shelf: Shelf, made: Path, tmp_path: Path) -> None:
    for index in range(MOST_OPEN + 1):
        bundles.predictor(f"m{index}", shelf.put(made, f"bundles/m{index}/r/"))
        bundles.predictor("m0", "bundles/m0/r/", explain=True)  # used again and again, so it stays
    assert [opened.model for opened in bundles.opened.values()] == ["m2", "m3", "m4", "m0"]
    assert list((tmp_path / "cache" / "bundles_m1_r").iterdir()) == []


@pytest.mark.parametrize("name", ["features.json", "labels.json", "model.onnx", "weights.bin"])
def test_a_byte_that_differs_is_refused_by_name(bundles: Bundles, shelf: Shelf, name: str) -> None:
    key = f"bundles/income/r-1/{name}"
    right = shelf.objects[key]
    shelf.objects[key] = right[:-1] + b"#"
    with pytest.raises(BadBundle, match=f"{name} differs from its manifest"):
        bundles.predictor("income", "bundles/income/r-1/")
    del shelf.objects[key]
    with pytest.raises(BadBundle, match=f"{name} is named in the manifest but missing"):
        bundles.predictor("income", "bundles/income/r-1/")
    shelf.objects[key] = right
    assert bundles.predictor("income", "bundles/income/r-1/").predict(ROWS)


def test_a_folder_without_a_manifest_does_not_exist_yet(bundles: Bundles, shelf: Shelf) -> None:
    for manifest in (None, b"{}", b"[1]", b"no json", json.dumps({"files": []}).encode()):
        shelf.objects["bundles/income/r-1/MANIFEST.json"] = manifest or b""
        if manifest is None:
            del shelf.objects["bundles/income/r-1/MANIFEST.json"]
        with pytest.raises(BadBundle, match=r"has no readable MANIFEST\.json|lacks features\.json"):
            bundles.predictor("income", "bundles/income/r-1/")


def test_a_failed_fetch_leaves_the_old_version_in_service(
    bundles: Bundles, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = bundles.predictor("income", "bundles/income/r-1/")

    def fails(bucket: str, key: str) -> bytes:
        raise Unavailable("s3 did not answer.")

    monkeypatch.setattr(shelf, "get_object", fails)
    with pytest.raises(Unavailable):
        bundles.predictor("income", "bundles/income/r-2/")
    assert bundles.predictor("income", "bundles/income/r-1/") is old


def test_names_in_a_manifest_cannot_reach_outside_the_folder(bundles: Bundles, shelf: Shelf, tmp_path: Path) -> None:
    key = "bundles/income/r-1/MANIFEST.json"
    manifest = json.loads(shelf.objects[key])
    manifest["files"].append({"name": "../../escaped", "size_bytes": 1, "sha256": "0"})
    shelf.objects[key] = json.dumps(manifest).encode()
    bundles.predictor("income", "bundles/income/r-1/")
    assert "escaped" not in shelf.asked and not list(tmp_path.rglob("escaped"))
