"""The card says in plain words what honest answers were worth, and shows strangers' labels without obeying them."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tidemill.core.calibration import Calibration
from tidemill.core.outputs import fit_outputs, report
from tidemill.core.spec import Decision
from tidemill.training.card import honest, page

HOSTILE = "</p><script>alert(1)</script>\u202e"


def card(task: str, labels: tuple[str, ...], *, costs: Decision | None = None, noise: bool = False) -> dict[str, Any]:
    """What the card holds of outputs, for a made-up model; with `noise`, of one that knows nothing."""
    random = np.random.default_rng(1)
    held, test = _drawn(task, len(labels), random, noise), _drawn(task, len(labels), random, noise)
    fitted = fit_outputs(task, labels, *held, Calibration(), costs or Decision())
    measured = report(fitted, task, labels, *test, test[1])
    told: dict[str, Any] = json.loads(json.dumps({"rules": fitted.to_json(), "measured": measured}))
    return {"outputs": told}


def _drawn(task: str, k: int, random: np.random.Generator, noise: bool) -> tuple[Any, Any, Any]:
    if task == "regression":
        value_n = random.uniform(10, 20, 2_000)
        return value_n + random.normal(0, value_n / 10), value_n[:, None], value_n / 10
    p_nk = random.dirichlet(np.r_[2.0, np.ones(k - 1)], 2_000)
    y_n = (p_nk.cumsum(1) < random.random((2_000, 1))).sum(1).clip(0, k - 1)
    return y_n, random.permutation(p_nk) if noise else p_nk, None


def rendered(held: dict[str, Any]) -> str:
    text: str = page._environment().get_template("honest.html.j2").render(card=held, honest=honest.shown(held))
    return text


def found(held: dict[str, Any]) -> dict[str, Any]:
    told = honest.shown(held)
    assert told is not None
    return told


def test_the_saving_is_told_in_plain_words() -> None:
    told = found(card("binary", ("stays", "leaves"), costs=Decision(1.0, 4.0)))["decision"]
    share, cost, saving = told["acted"]["rule"], told["cost"]["rule"], told["saving"]["value"]
    words = told["sentence"]
    assert words.startswith(f"Acting on {share:.1%}".replace("%", " %"))
    assert "probability of leaves is at least 0.200" in words
    assert f"costs {cost:.4f} a row, {saving:.4f} less than acting on every row (95 % interval" in words


def test_a_saving_that_may_be_chance_is_called_that() -> None:
    told = found(card("binary", ("stays", "leaves"), costs=Decision(1.0, 1.0), noise=True))["decision"]
    assert " more than acting on no row" in told["sentence"]
    near = {**told, "saving": {"value": 0.01, "low": -0.02, "high": 0.04}}
    assert honest._decision(near).endswith("0.0100 less than acting on no row, which may be chance.")


def test_the_plot_shows_the_cost_of_every_threshold() -> None:
    held = card("binary", ("stays", "leaves"), costs=Decision(1.0, 4.0))
    plot = ElementTree.fromstring(str(found(held)["plot"]))  # noqa: S314 - our own drawing
    line = next(item for item in plot.iter("path") if item.get("class") == "line main")
    assert line.get("d", "").count("L") == 100
    assert next(item.text for item in plot.iter("title")) == "Cost by threshold"
    assert any("acting on every row costs" in str(item.text) for item in plot.iter("desc"))


@pytest.mark.parametrize(
    ("task", "labels"), [("regression", ()), ("multiclass", ("a", "b", HOSTILE)), ("binary", ("no", HOSTILE))]
)
def test_the_fragment_is_whole_and_obeys_no_label(task: str, labels: tuple[str, ...]) -> None:
    costs = Decision(1.0, 4.0, HOSTILE) if task == "binary" else None
    text = rendered(card(task, labels, costs=costs))
    ElementTree.fromstring(text)  # noqa: S314 - our own page: every element is closed
    assert "<script" not in text and "\u202e" not in text
    assert '"interval": 0.99</code>' in text if task == "regression" else '"set": 0.99</code>' in text
    assert text.count("<tr>") == 6 and "90.0 %" in text
    assert ("<svg" in text) == (task == "binary")


def test_what_was_not_corrected_is_said_to_be_so() -> None:
    told = found(card("multiclass", ("a", "b", "c")))
    assert told["calibration"]["sentence"].startswith("Probabilities are given as the model makes them")
    corrected = {**told["calibration"], "method": "platt", "before": 0.08, "after": 0.01}
    assert "off by 0.0100 on average, 0.0800 before the correction" in honest._calibration(corrected)


def test_a_level_nobody_could_learn_is_not_claimed() -> None:
    told = found(card("regression", ()))["coverage"]
    assert "Intervals for 90.0 % of the rows" in told["sentence"]
    few = {**told, "levels": told["levels"][:2]}
    assert honest._coverage(few) == "Too few rows were held out to learn intervals for 90.0 % of the rows."


def test_a_card_without_outputs_has_no_such_section() -> None:
    assert honest.section({}) is None and honest.shown({"outputs": None}) is None and honest.shown({}) is None
    assert rendered({}).strip() == ""
    assert honest.section({"outputs": {"rows": 3, "calibration": None, "coverage": None, "decision": None}}) is None
    assert page._environment().get_template("honest.html.j2").render(card={}).strip() == ""
