"""Which test rows a card shows, and what it shows of them: typical ones of many classes, the worst mistakes, small."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.core.pictures import drawn, encoded

from tidemill.core.highlight import Mark
from tidemill.training.examples import choosing, pictures, texts

LAWS = settings(max_examples=100, deadline=None)


def answers(classes: int, rows: int = 200, seed: int = 0) -> tuple[Any, Any]:
    """True classes, and answers that are right more often than not."""
    rng = np.random.default_rng(seed)
    y_n = rng.integers(0, classes, rows)
    scores_nk = rng.gamma(0.5, size=(rows, classes)) + 1.5 * np.eye(classes)[y_n] * (rng.random(rows) < 0.8)[:, None]
    return y_n, scores_nk / scores_nk.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 5, 12, 40])
def test_typical_rows_are_right_answers_spread_over_the_classes(classes: int) -> None:
    y_n, answer_nk = answers(classes, rows=50 * classes)
    rows = choosing.typical("multiclass", y_n, answer_nk)
    assert len(rows) <= choosing.MOST and len(set(rows.tolist())) == len(rows)
    counts = np.bincount(y_n[rows], minlength=classes)
    assert (counts > 0).sum() == min(classes, choosing.MOST) and counts.max() <= choosing.OF_A_CLASS
    assert (answer_nk[rows].argmax(1) == y_n[rows]).all()
    first = rows[: min(classes, choosing.MOST)]
    assert len(set(y_n[first].tolist())) == len(first), "one of each class before a second of any"
    for row in first.tolist():
        own = (y_n == y_n[row]) & (answer_nk.argmax(1) == y_n)
        assert answer_nk[row].max() == answer_nk[own].max(), "the surest comes first"


def test_a_class_that_is_never_answered_right_is_left_to_the_mistakes() -> None:
    answer_nk = np.tile([0.9, 0.1], (10, 1))
    y_n = np.r_[np.zeros(7, int), np.ones(3, int)]
    assert (choosing.typical("binary", y_n, answer_nk) < 7).all()
    assert choosing.typical("binary", np.ones(10, int), answer_nk).tolist() == []
    assert choosing.worst("binary", y_n, answer_nk).tolist() == [7, 8, 9]


def test_typical_numbers_go_from_the_lowest_to_the_highest_answer() -> None:
    answer_nk = np.random.default_rng(0).normal(size=(50, 1))
    told = answer_nk[choosing.typical("regression", np.zeros(50), answer_nk), 0]
    assert len(told) == choosing.OF_NUMBERS and (np.diff(told) > 0).all()
    assert (told[0], told[-1]) == (answer_nk.min(), answer_nk.max())
    assert choosing.typical("regression", np.zeros(2), answer_nk[:2]).tolist() in ([0, 1], [1, 0])


def test_the_worst_mistakes_are_wrong_and_fall_in_loss() -> None:
    y_n, answer_nk = answers(4)
    rows = choosing.worst("multiclass", y_n, answer_nk)
    assert set(rows.tolist()) == set(np.flatnonzero(answer_nk.argmax(1) != y_n).tolist())
    assert (np.diff(answer_nk[rows, y_n[rows]]) >= 0).all()
    errors = np.abs(np.arange(5.0) - np.zeros(5))
    assert choosing.worst("regression", np.arange(5.0), np.zeros((5, 1))).tolist() == np.argsort(-errors).tolist()


def test_equal_rows_are_shown_once() -> None:
    hashes = np.array([5, 6, 5, 7, 6], np.uint64)
    assert choosing.unequal(np.array([2, 0, 4, 3, 1]), hashes).tolist() == [2, 4, 3]


def test_rows_are_told_with_answer_truth_and_what_led_there() -> None:
    y_n, answer_nk = np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], np.float32)
    model = SimpleNamespace(task="binary", answers=lambda x_n: answer_nk)
    split = SimpleNamespace(
        x_n=np.eye(3, dtype=np.float32), y_n=y_n, hashes=np.arange(3), target=np.array(["n", "y", "y"])
    )
    data = SimpleNamespace(test=split, schema={"labels": ["n", "y"], "target": "t"})

    def explainer(x_nf: Any, target_nk: Any) -> Any:
        return x_nf * 0.25, 0.5 + 0 * x_nf[:, 0], 0.25 + 0 * x_nf[:, 0]

    typical, wrong = choosing.shown(model, explainer, data)  # type: ignore[arg-type]
    assert [one.row for one in typical] == [0, 1] and [one.row for one in wrong] == [2]
    told = wrong[0].facts
    assert (told["row"], told["actual"], told["answer"], told["target"]) == (3, "y", "n", "n")
    assert told["probability"] == pytest.approx(0.7) and told["of_actual"] == pytest.approx(0.3)
    assert wrong[0].contribution_p.tolist() == pytest.approx([0, 0, 0.25])


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(448, 448), (300, 100), (224, 224), (28, 28)])
def test_pictures_on_a_card_are_small_and_keep_their_proportions(height: int, width: int) -> None:
    png = encoded(drawn(3, height, width))
    made = pictures.small(png)
    with Image.open(io.BytesIO(made)) as image:
        assert max(image.size) == min(pictures.SIDE, max(height, width))
        assert image.width / image.height == pytest.approx(width / height, rel=0.02)
    assert made == pictures.small(png) and base64.b64decode(pictures.data_uri(made).partition(",")[2]) == made


def test_as_many_pictures_are_kept_as_there_is_room_for_and_one_of_each_kind() -> None:
    def sized(size: int, count: int) -> list[dict[str, Any]]:
        return [{"row": at, "picture": "p" * (size // 2), "heat": "h" * (size // 2)} for at in range(count)]

    tenth = pictures.ROOM // 10
    explanations, mistakes = pictures.within(sized(tenth, 12), sized(tenth, 3))
    assert [item["row"] for item in explanations] == list(range(7)) and len(mistakes) == 3
    explanations, mistakes = pictures.within(sized(3 * pictures.ROOM, 2), sized(tenth, 2))
    assert (len(explanations), len(mistakes)) == (1, 1)
    assert pictures.within(sized(tenth, 2), []) == (sized(tenth, 2), [])


# --- texts ------------------------------------------------------------------------------------------------------------


@st.composite
def marked(draw: Any) -> tuple[str, list[Mark], float]:
    """A text that may be long, marks on it that do not overlap, and what could not be placed."""
    length = draw(st.integers(1, 6_000))
    content = "".join(chr(0x4E00 + at % 5_000) for at in range(length))
    ends = sorted(draw(st.sets(st.integers(0, length), max_size=80)))
    pairs = zip(ends[::2], ends[1::2], strict=False)
    found = [Mark(start, end, draw(st.floats(-1, 1))) for start, end in pairs]
    return content, found, draw(st.floats(-1, 1))


@LAWS
@given(marked())
def test_an_excerpt_keeps_sums_and_places(case: tuple[str, list[Mark], float]) -> None:
    content, found, rest = case
    told = texts.excerpt(content, found, rest)
    start, end, length = told.get("part", [0, len(content), len(content)])
    assert told["text"] == content[start:end] and length == len(content) and end - start <= texts.LONGEST
    assert ("part" in told) is (len(content) > texts.LONGEST)
    places = {(mark.start, mark.end): mark.contribution for mark in found}
    for first, last, value in told["marks"]:
        assert value == pytest.approx(places[first + start, last + start], rel=1e-5)
    total = sum(mark.contribution for mark in found) + rest
    assert sum(value for *_, value in told["marks"]) + told["rest"] == pytest.approx(total, abs=1e-9)


def test_the_excerpt_lies_where_the_weight_is() -> None:
    content = "word " * 4_000
    found = [Mark(at, at + 4, 0.001) for at in range(0, 20_000, 5)] + [Mark(15_000, 15_004, 0.5)]
    told = texts.excerpt(content, found, 0.0)
    assert told["part"][0] <= 15_000 < told["part"][1]
    assert any(value == 0.5 for *_, value in told["marks"]) and len(told["marks"]) == texts.MARKED


def test_of_many_marks_the_strongest_are_kept_in_the_order_of_the_text() -> None:
    found = [Mark(at, at + 1, (-1) ** at * (at % 97 + 1) / 97) for at in range(1_000)]
    told = texts.excerpt("字" * 1_000, found, 0.0)
    starts, values = [start for start, _, _ in told["marks"]], [abs(value) for *_, value in told["marks"]]
    assert starts == sorted(starts) and len(starts) == texts.MARKED
    assert min(values) >= sorted((abs(mark.contribution) for mark in found), reverse=True)[texts.MARKED] - 1e-6
