"""How the model was chosen, on the card: every trial counted, every picture inside its frame, no name upon another."""

from __future__ import annotations

import json
import math
import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.test_card import HOSTILE, Page, inputs

from tidemill.training.card import curves, svg, write_card
from tidemill.training.card.chosen import SHOWN, blend, chosen

FAMILIES = ("tabm", "mlp", "linear", "forest", "other")


def search(count: int, *, unit: float = 1.0, seed: int = 0) -> dict[str, Any]:
    """A search of `count` trials as search.json tells it: every fourth is finished, the best six are the model."""
    draw = random.Random(seed)
    trials = [_trial(at, draw, unit) for at in range(count)]
    done = sorted((trial for trial in trials if trial["loss"] is not None), key=lambda trial: trial["loss"])[:6]
    for trial in done:
        trial["state"], trial["share"] = "blended", 1 / len(done)
    return {
        "format": 1,
        "winner": f"The blend {HOSTILE} won.",
        "score": "validation log loss",
        "folds": 5,
        "trials": trials,
        "blend": [{"id": trial["id"], "share": trial["share"]} for trial in done],
        "compilations": 3,
    }


def _trial(at: int, draw: random.Random, unit: float) -> dict[str, Any]:
    family, finished = FAMILIES[at % len(FAMILIES)], at % 4 == 0 or at < 2
    floor, start, epochs = 0.3 + 0.1 * draw.random(), 0.7 + 3 * draw.random(), 60 if finished else 8
    losses = [unit * (floor + (start - floor) * math.exp(-0.1 * epoch)) for epoch in range(1, epochs + 1)]
    return {
        "id": f"{family}-{at}",
        "family": family,
        "settings": {"learning_rate": draw.random(), "dropout": 0.1 * (at % 3), "epochs": 60},
        "rungs": [{"epochs": halt, "loss": losses[halt - 1]} for halt in (8, 60) if halt <= epochs],
        "loss": losses[-1] if finished else None,
        "state": "kept" if finished else "stopped",
        "share": None,
        "curve": [
            {"epoch": at + 1, "train_loss": 0.9 * loss, "validation_loss": loss} for at, loss in enumerate(losses)
        ],
    }


def page(folder: Path, told: dict[str, Any] | None, **more: Any) -> tuple[str, dict[str, Any]]:
    """The page and the facts of a card with this search."""
    write_card(folder, **inputs("binary"), search=told, **more)
    return (folder / "card.html").read_text("utf-8"), json.loads((folder / "card.json").read_text("utf-8"))


def coordinates(picture: str) -> list[tuple[float, float]]:
    """Every place a picture names: ends of lines, corners, centres, texts, steps of paths."""
    root, found = ElementTree.fromstring(picture), []  # noqa: S314 - our own page
    for mark in root.iter():
        if mark.tag == "path":
            steps = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", mark.get("d", ""))
            found += [(float(x), float(y)) for x, y in steps]
            assert len(steps) == sum(map(mark.get("d", "").count, "ML")), "a step that is no number"
        for x, y in (("x", "y"), ("x1", "y1"), ("x2", "y2"), ("cx", "cy")):
            if mark.get(x) is not None:
                found.append((float(mark.get(x, "")), float(mark.get(y, ""))))
    return found


def is_inside(picture: str) -> bool:
    """Whether all of a picture lies in its view box."""
    _, _, wide, high = map(float, ElementTree.fromstring(picture).get("viewBox", "").split())  # noqa: S314
    return all(0 <= x <= wide and 0 <= y <= high for x, y in coordinates(picture))


def labels(picture: str) -> list[tuple[float, float, str]]:
    """The names at the ends of the curves, from the top."""
    root = ElementTree.fromstring(picture)  # noqa: S314 - our own page
    marks = [mark for mark in root.iter("text") if "family-" in (mark.get("class") or "")]
    return sorted((float(mark.get("y", "")), float(mark.get("x", "")), "".join(mark.itertext())) for mark in marks)


@pytest.mark.parametrize(("count", "unit"), [(1, 1.0), (2, 1.0), (7, 30_000.0), (150, 1.0), (150, 1e-7)])
def test_all_of_the_picture_lies_inside_and_no_name_upon_another(count: int, unit: float) -> None:
    picture = str(curves.curves(chosen(search(count, unit=unit))))
    assert is_inside(picture)
    found = labels(picture)
    assert len({x for _, x, _ in found}) == 1
    assert all(low[0] - high[0] >= 11 for high, low in pairwise(found)), found


def test_every_part_of_the_model_is_named_and_so_is_the_best_of_every_other_family() -> None:
    told = search(150)
    named = {name for _, _, name in labels(str(curves.curves(chosen(told))))}
    assert {part["id"] for part in told["blend"]} <= named
    families = {trial["id"]: trial["family"] for trial in told["trials"]}
    assert {families[name] for name in named} == set(FAMILIES)


def test_hopeless_trials_do_not_press_the_others_into_a_line() -> None:
    told = search(40)
    for trial in told["trials"]:
        if trial["state"] == "stopped":
            trial["curve"] = [{"epoch": at, "validation_loss": 1e6} for at in (1, 2, 3)]
    root = ElementTree.fromstring(str(curves.curves(chosen(told))))  # noqa: S314 - our own page
    best = next(mark for mark in root.iter("path") if "family-" in (mark.get("class") or ""))
    ys = [float(y) for y in re.findall(r"[ML]-?[\d.]+ (-?[\d.]+)", best.get("d", ""))]
    assert max(ys) - min(ys) > 100, "a third of the picture at least"
    assert "left out" in (root[1].text or "")


def test_a_diverged_trial_is_counted_and_not_drawn() -> None:
    told = search(10)
    told["trials"][3] |= {"state": "diverged", "curve": [{"epoch": 1, "validation_loss": float("nan")}]}
    facts = chosen(told)
    assert facts and facts["states"]["diverged"] == 1 and facts["count"] == 10
    assert "nan" not in str(curves.curves(facts)).replace("explanation", "")


def test_without_losses_there_is_no_picture_and_without_trials_no_section(tmp_path: Path) -> None:
    told = search(3)
    for trial in told["trials"]:
        trial |= {"curve": [], "rungs": [], "loss": None, "state": "stopped"}
    assert curves.curves(chosen(told)) is None
    for none in (None, {}, {"trials": []}):
        html, card = page(tmp_path, none)
        assert card["search"] is None and "How this model was chosen" not in html


def test_the_page_shows_the_sentence_the_best_twenty_and_folds_the_rest(tmp_path: Path) -> None:
    told = search(150)
    html, card = page(tmp_path, told)
    words = Page(html).text
    assert told["winner"] in words and HOSTILE not in html
    assert f"The other {150 - SHOWN} trials" in words
    for trial in told["trials"]:
        assert trial["id"] in words
    before = html[: html.index("<details>")]
    assert all(f"<bdi>{part['id']}</bdi>" in before for part in told["blend"])
    assert len(html) < 400_000 and len(json.dumps(card)) < 600_000
    assert "the mean over 5 parts of the rows" in words


def test_only_settings_that_differ_stand_beside_a_trial(tmp_path: Path) -> None:
    _, card = page(tmp_path, search(20))
    assert set(card["search"]["different"]) == {"learning_rate", "dropout"}
    assert card["search"]["common"] == {"epochs": 60}
    assert all("epochs" not in trial["settings"] for trial in card["search"]["trials"])


def test_trials_stand_from_best_to_worst_after_the_parts_of_the_model() -> None:
    facts = chosen(search(60))
    assert facts
    states = [trial["state"] for trial in facts["trials"]]
    assert states == sorted(states, key=["blended", "kept", "stopped"].index)
    kept = [trial["loss"] for trial in facts["trials"] if trial["state"] == "kept"]
    assert kept == sorted(kept)


def test_a_model_of_one_trial_is_told_like_any_other(tmp_path: Path) -> None:
    told = search(1)
    told["trials"][0] |= {"state": "blended", "share": 1.0}
    told["blend"] = [{"id": "tabm-0", "share": 1.0}]
    words = Page(page(tmp_path, told)[0]).text
    assert "1 trial was made: 1 in the model" in words and "100.0 %" in words


def test_a_model_fitted_in_one_go_is_a_point() -> None:
    told = search(6)
    told["trials"][0] |= {"curve": [], "rungs": [], "loss": 0.35}
    picture = str(curves.curves(chosen(told)))
    assert "<circle" in picture and is_inside(picture)


def test_the_shares_of_the_blend_are_bars_as_long_as_the_shares() -> None:
    told = search(3)
    told["blend"] = [{"id": "tabm-0", "share": 0.75}, {"id": "mlp-1", "share": 0.25}]
    root = ElementTree.fromstring(str(blend(chosen(told))))  # noqa: S314 - our own page
    first, second = (float(mark.get("width", "")) for mark in root.iter("rect"))
    assert first == pytest.approx(3 * second, abs=0.1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 400), min_size=1, max_size=40))
def test_places_are_moved_apart_and_keep_their_order(places: list[float]) -> None:
    moved = svg.spread(places, 13.0, 0.0, 400.0)
    assert all(-1e-6 <= place <= 400 + 1e-6 for place in moved)
    order = sorted(range(len(places)), key=lambda at: places[at])
    gap = min(13.0, 400 / max(1, len(places) - 1))
    assert all(moved[b] - moved[a] >= gap - 1e-6 for a, b in pairwise(order))


@given(st.floats(1e-9, 1e9), st.floats(1.5, 1e9))
def test_logarithmic_ticks_are_few_and_inside(low: float, factor: float) -> None:
    found = svg.log_ticks(low, low * factor)
    assert len(found) <= 6 and all(low * 0.999 <= value <= low * factor * 1.001 for value in found)
    assert found == sorted(found)
