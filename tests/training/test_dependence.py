"""What a card shows of a column is the mean answer with that column set, for the columns that matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tidemill.core.prepare import prepare
from tidemill.core.spec import Data, Spec
from tidemill.training import dataset, dependence
from tidemill.training.dataset import Dataset
from tidemill.training.evaluate import Model, Part
from tidemill.training.families import linear
from tidemill.training.loop import Kind
from tidemill.training.losses import Scale

COLUMNS = ("size", "rooms", "town", "sold")
TOWNS = ["Ulm"] * 5 + ["Graz"] * 3 + ["Linz", ""]


def loaded(folder: Path, target: str) -> Dataset:
    """A small table of houses, prepared and loaded."""
    rng, rows = np.random.default_rng(0), 240
    lines = ["size,rooms,town,sold,price,dear"]
    for at in range(rows):
        size = "" if at % 17 == 0 else f"{rng.lognormal(4, 0.5):.1f}"
        price = rng.normal(100, 20)
        town, day = TOWNS[int(rng.integers(len(TOWNS)))], f"2024-{1 + at % 12:02d}-{1 + at % 28:02d}"
        lines.append(f"{size},{rng.integers(1, 6)},{town},{day},{price:.2f},{'yes' if price > 115 else 'no'}")
    table = folder / "houses.csv"
    table.write_text("\n".join(lines) + "\n")
    spec = Spec(data=Data(target=target, drop=("dear" if target == "price" else "price",)))
    prepare(table, table.name, spec, folder / "dataset", model="houses")
    return dataset.load(folder / "dataset", spec)


def model_of(data: Dataset) -> Model:
    """A linear model with slopes drawn at random."""
    task, outputs = data.schema["task"], max(1, len(data.schema["labels"]))
    net = linear.net(data.program.width, outputs, None)
    weights = net.init(np.random.default_rng(0), 0, None)
    weights = jax.tree.map(
        lambda leaf: np.random.default_rng(1).normal(size=(1, *leaf.shape)).astype(np.float32), weights
    )
    wide = Scale(*map(np.float32, (100, 20, -1e6, 1e6)))
    return Model((Part("linear-1", Kind(net, task, False), weights),), wide, 20.0 if task == "regression" else 1.0)


@pytest.fixture(scope="module", params=["price", "dear"])
def houses(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Model]:
    data = loaded(tmp_path_factory.mktemp("houses"), request.param)
    return data, model_of(data)


def importance(**known: float) -> list[dict[str, Any]]:
    return [{"column": name, "importance": known.get(name, 1.0)} for name in COLUMNS]


def shown(houses: tuple[Dataset, Model], **known: float) -> dict[str, dict[str, Any]]:
    data, model = houses
    return {item["column"]: item for item in dependence.dependence(model, data, importance(**known), seed=0)}


def test_the_columns_that_matter_most_come_first_and_those_that_do_not_never(
    houses: tuple[Dataset, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(shown(houses, town=3.0, size=2.0, rooms=0.0)) == ["town", "size", "sold"]
    monkeypatch.setattr(dependence, "COLUMNS", 2)
    assert list(shown(houses, town=3.0, size=2.0)) == ["town", "size"]


def test_a_column_of_one_value_is_not_shown(houses: tuple[Dataset, Model]) -> None:
    data, model = houses
    still = {**data.train.columns, "rooms": np.full(len(data.train.y_n), 3.0)}
    found = shown((replace(data, train=replace(data.train, columns=still)), model), rooms=9.0)
    assert "rooms" not in found
    assert "town" in found


def test_lists_are_of_one_length_and_rows_are_training_rows(houses: tuple[Dataset, Model]) -> None:
    rows = len(houses[0].train.y_n)
    for name, item in shown(houses).items():
        lengths = {len(item[key]) for key in ("values", "answer", "low", "high", "rows")}
        assert lengths == {len(item["values"])}
        assert sum(item["rows"]) == rows - np.isnan(houses[0].train.columns["size"]).sum() * (name == "size")
        assert len(item["values"]) <= (dependence.LEVELS if item["kind"] == "category" else dependence.POINTS)


def test_kinds_and_what_is_followed_are_told(houses: tuple[Dataset, Model]) -> None:
    found = shown(houses)
    kinds = {"size": "number", "rooms": "number", "town": "category", "sold": "datetime"}
    assert {name: item["kind"] for name, item in found.items()} == kinds
    assert {item["target"] for item in found.values()} == {"price" if houses[1].task == "regression" else "yes"}


def test_levels_come_by_their_rows_and_missing_is_one(houses: tuple[Dataset, Model]) -> None:
    town = shown(houses)["town"]
    assert town["values"][:2] == ["Ulm", "Graz"]
    assert set(town["values"]) == {"Ulm", "Graz", "Linz", None}
    assert town["rows"] == sorted(town["rows"], reverse=True)


@pytest.mark.parametrize("name", ["rooms", "town", "sold"])
def test_an_answer_is_the_mean_of_all_rows_with_that_value(houses: tuple[Dataset, Model], name: str) -> None:
    data, model = houses
    assert len(data.train.y_n) <= dependence.MOST_ROWS  # so that no sample is drawn
    item = shown(houses)[name]
    label = data.schema["labels"].index("yes") if data.schema["labels"] else 0
    for value, told in zip(item["values"], item["answer"], strict=True):
        columns = {key: column_n.copy() for key, column_n in data.train.columns.items()}
        columns[name][:] = value
        assert told == pytest.approx(model.answers(data.program.apply(columns))[:, label].mean(), rel=1e-5)


def test_the_band_lies_around_the_answer_and_has_no_width_for_a_line(houses: tuple[Dataset, Model]) -> None:
    for item in shown(houses).values():
        low_v, answer_v, high_v = (np.array(item[key]) for key in ("low", "answer", "high"))
        assert (low_v <= answer_v).all()
        assert (answer_v <= high_v).all()
        if houses[1].task == "regression":
            assert np.allclose(low_v, high_v, rtol=1e-4)
        else:
            assert (high_v - low_v).max() > 0.01
            assert ((low_v >= 0) & (high_v <= 1)).all()


def test_numbers_are_shown_where_rows_are_and_where_few_are() -> None:
    known_n = np.concatenate([np.zeros(900), np.arange(1, 101.0), [np.nan] * 9])
    values, rows = dependence._numbers(known_n)
    assert len(values) > 8
    assert values[0] == 0.0
    assert values[-1] > 95.0
    assert sum(rows) == 1000
    assert rows[0] >= 900


def test_a_large_model_is_asked_about_fewer_rows(
    houses: tuple[Dataset, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    data = houses[0]
    found = type(data.program).apply
    monkeypatch.setattr(
        type(data.program), "apply", lambda self, columns: asked.append(len(columns["size"])) or found(self, columns)
    )
    levels = len(shown(houses)["town"]["values"])
    monkeypatch.setattr(dependence, "WORK", 1)
    shown(houses)
    assert len(data.train.y_n) * levels in asked[: len(asked) // 2]
    assert dependence.LEAST_ROWS * levels in asked[len(asked) // 2 :]
