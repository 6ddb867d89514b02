"""The target and the task: found, inferred, or refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tidemill.core.errors import BadTable
from tidemill.core.prepare import load_split
from tidemill.core.prepare.target import order_labels

Make = Callable[..., Any]
N = 120


def table(label: Callable[[int], Any], name: str = "label") -> str:
    return f"x,{name}\n" + "".join(f"{(n * 7919) % 1_000 / 8},{label(n)}\n" for n in range(N))


@pytest.mark.parametrize("name", ["target", "Label", "CLASS", "y", "outcome", "标签", "目标", "类别"])
def test_a_column_named_like_a_target_is_it(make: Make, name: str) -> None:
    text = f"{name},x\n" + "".join(f"{'yes' if n % 3 else 'no'},{n * 13 % 101}\n" for n in range(N))
    prepared = make(text)
    assert prepared.schema["target"] == name
    assert "called like one" in prepared.profile["target"]["how"]


def test_else_the_last_column_is_it(make: Make) -> None:
    assert make(table(lambda n: n % 2, "bought")).schema["target"] == "bought"


def test_a_target_nobody_has_is_refused_with_close_matches(make: Make) -> None:
    with pytest.raises(BadTable, match="Did you mean 'label'") as caught:
        make(table(lambda n: n % 2), data={"target": "lable"})
    assert caught.value.code == "TARGET_NOT_FOUND"
    assert caught.value.details["columns"] == ["x", "label"]


@pytest.mark.parametrize(
    ("label", "task", "labels"),
    [
        (lambda n: n % 2, "binary", ["0", "1"]),
        (lambda n: f"{n % 2}.0", "binary", ["0", "1"]),
        (lambda n: "yes" if n % 2 else "no", "binary", ["no", "yes"]),
        (lambda n: "True" if n % 2 else "False", "binary", ["False", "True"]),
        (lambda n: "是" if n % 2 else "否", "binary", ["否", "是"]),
        (lambda n: "abc"[n % 3], "multiclass", ["a", "b", "c"]),
        (lambda n: n % 5 + 1, "multiclass", ["1", "2", "3", "4", "5"]),
        (lambda n: n % 40, "regression", []),
        (lambda n: n / 8, "regression", []),
        (lambda n: (1, 2, 4, 8, 16)[n % 5], "regression", []),
    ],
)
def test_the_task_follows_from_the_target(
    make: Make, label: Callable[[int], Any], task: str, labels: list[str]
) -> None:
    schema = make(table(label)).schema
    assert (schema["task"], schema["labels"]) == (task, labels)


def test_a_word_among_numbered_classes_is_a_class(make: Make) -> None:
    schema = make(table(lambda n: "other" if n % 30 == 0 else n % 4)).schema
    assert schema["labels"] == ["0", "1", "2", "3", "other"]


@pytest.mark.parametrize(
    ("label", "asked", "code"),
    [
        (lambda n: "yes", "auto", "TARGET_CONSTANT"),
        (lambda n: 5, "auto", "TARGET_CONSTANT"),
        (lambda n: "yes" if n == 0 else "no", "auto", "TARGET_CONSTANT"),
        (lambda n: f"user{n}", "auto", "TARGET_IS_IDENTIFIER"),
        (lambda n: "" if n > 40 else n % 2, "auto", "TARGET_TOO_FEW_LABELS"),
        (lambda n: f"2024-01-{n % 28 + 1:02d}", "auto", "TARGET_IS_DATE"),
        (lambda n: "abc"[n % 3], "regression", "TARGET_NOT_NUMERIC"),
        (lambda n: "abc"[n % 3], "binary", "TARGET_NOT_BINARY"),
    ],
)
def test_targets_nothing_can_be_learned_for_are_refused(
    make: Make, label: Callable[[int], Any], asked: str, code: str
) -> None:
    with pytest.raises(BadTable) as caught:
        make(table(label), data={"task": asked})
    assert caught.value.code == code
    assert caught.value.remedy


def test_too_many_classes_are_refused(make: Make) -> None:
    text = "x,label\n" + "".join(f"{n * 7 % 1_009},class{n % 1_001}\n" for n in range(2_002))
    with pytest.raises(BadTable) as caught:
        make(text)
    assert caught.value.code == "TARGET_TOO_MANY_CLASSES"


def test_a_repeated_target_name_is_ambiguous(make: Make) -> None:
    with pytest.raises(BadTable) as caught:
        make("x,label,label\n" + "".join(f"{n},{n % 2},{n % 3}\n" for n in range(N)))
    assert caught.value.code == "TARGET_AMBIGUOUS"


def test_rows_without_a_label_are_set_aside_and_do_not_count_as_bad(make: Make) -> None:
    prepared = make(table(lambda n: "" if n % 4 == 0 else ("yes" if n % 3 else "no")))
    assert prepared.profile["quarantined"] == {"MISSING_TARGET": 30}
    assert prepared.rows["used"] == 90


def test_a_class_seen_once_is_set_aside_and_two_classes_remain_binary(make: Make) -> None:
    prepared = make(table(lambda n: "maybe" if n == 9 else ("yes" if n % 3 else "no")))
    assert prepared.profile["quarantined"] == {"CLASS_TOO_SMALL": 1}
    assert (prepared.schema["task"], prepared.schema["labels"]) == ("binary", ["no", "yes"])


def test_labels_that_differ_by_case_are_pointed_out(make: Make) -> None:
    prepared = make(table(lambda n: ("yes", "Yes ", "no", "NO")[n % 4]))
    assert "WARN_LABEL_VARIANTS" in {warned["code"] for warned in prepared.profile["warnings"]}
    assert prepared.schema["labels"] == ["NO", "Yes", "no", "yes"]


def test_the_positive_label_stands_last() -> None:
    assert order_labels(["yes", "no"]) == ["no", "yes"]
    assert order_labels(["1", "-1"]) == ["-1", "1"]
    assert order_labels(["positive", "negative"]) == ["negative", "positive"]
    assert order_labels([">50K", "<=50K"]) == ["<=50K", ">50K"]
    assert order_labels(["good", "terrible"]) == ["terrible", "good"]
    assert order_labels(["c", "a", "b"]) == ["a", "b", "c"]


def test_a_skewed_positive_target_is_marked(make: Make) -> None:
    skewed = make(table(lambda n: 1.5 ** (n % 40)))
    assert (skewed.schema["task"], skewed.schema["target_log1p"]) == ("regression", True)
    assert make(table(lambda n: n / 8)).schema["target_log1p"] is False


def test_columns_that_tell_the_target_are_named_and_dropped_on_request(make: Make) -> None:
    rows = [(n * 7919 % 101, "yes" if n % 3 else "no", n * 13 % 7) for n in range(N)]
    text = "x,copy,other,label\n" + "".join(f"{x},{y[0]},{z},{y}\n" for x, y, z in rows)
    kept = make(text)
    assert [w["column"] for w in kept.profile["warnings"] if w["code"] == "COLUMN_LEAK"] == ["copy"]
    dropped = make(text, preprocess={"leaks": "drop"})
    assert {c["name"]: c["reason"] for c in dropped.schema["columns"]}["copy"] == "leak"
    assert set(load_split(dropped.folder, "train")[0]) == {"x", "other"}
    plain = make(text, data={"drop": ["copy"]})
    assert np.array_equal(load_split(dropped.folder, "train")[2], load_split(plain.folder, "train")[2])


def test_a_number_on_a_line_with_the_target_is_a_leak(make: Make) -> None:
    text = "x,euro,dollar\n" + "".join(f"{n * 7919 % 101},{n / 8},{n / 8 * 1.1 + 3}\n" for n in range(N))
    warned = make(text, data={"target": "dollar"}).profile["warnings"]
    assert [w["column"] for w in warned if w["code"] == "COLUMN_LEAK"] == ["euro"]


def test_a_table_in_which_nothing_varies_is_refused(make: Make) -> None:
    with pytest.raises(BadTable) as caught:
        make("a,b,label\n" + "".join(f"1,x,{n % 2}\n" for n in range(N)))
    assert caught.value.code == "NO_SIGNAL"


def test_a_table_of_names_only_keeps_one_column_and_says_so(make: Make) -> None:
    prepared = make("name,label\n" + "".join(f"person{n},{n % 2}\n" for n in range(N)))
    assert "NO_USEFUL_FEATURES" in {warned["code"] for warned in prepared.profile["warnings"]}
    assert prepared.schema["columns"][0]["role"] == "feature"
