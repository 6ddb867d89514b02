"""Text data sets: which tables are ones, what of a text is kept, and what is said of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.core.prepare.conftest import as_csv

from tidemill.core import features, manifest
from tidemill.core.errors import BadTable
from tidemill.core.limits import LIMITS, Limit, limit
from tidemill.core.prepare import Prepared, load_groups, load_split, prepare
from tidemill.core.prepare.text_measure import hides
from tidemill.core.spec import Spec

Make = Callable[..., Prepared]
N = 120


def sentence(number: int) -> str:
    return f"The {('good', 'bad')[number % 2]} story number {number} was told in {number % 7} words."


def chinese(number: int) -> str:
    return f"第{number}家酒店{('很好', '不好')[number % 2]}"


def table(text: Callable[[int], str] = sentence, names: tuple[str, ...] = ("words", "label"), n: int = N) -> str:
    return as_csv(names, [(text(k), ("yes", "no")[k % 2]) for k in range(n)])


def codes(prepared: Prepared) -> set[str]:
    return {warned["code"] for warned in prepared.profile["warnings"]}


def every(prepared: Prepared) -> dict[str, list[tuple[str, str]]]:
    """The texts and labels of every split."""
    found = {}
    for split in ("train", "validation", "test"):
        columns, target, _ = load_split(prepared.folder, split)
        (values,) = columns.values()
        found[split] = list(zip(values.tolist(), target.tolist(), strict=True))
    return found


@pytest.mark.parametrize("text", [sentence, chinese])
def test_a_column_of_language_beside_the_target_is_a_text_data_set(make: Make, text: Callable[[int], str]) -> None:
    prepared = make(table(text))
    assert prepared.schema["modality"] == prepared.profile["modality"] == "text"
    assert [(c["kind"], c["role"]) for c in prepared.schema["columns"]] == [("text", "feature"), ("category", "target")]
    assert not codes(prepared) & {"COLUMN_TEXT", "COLUMN_IDENTIFIER", "NO_USEFUL_FEATURES"}
    kept = sorted(row for rows in every(prepared).values() for row in rows)
    assert kept == sorted((text(k), ("yes", "no")[k % 2]) for k in range(N))


def test_ids_and_columns_left_out_do_not_make_texts_a_table(make: Make) -> None:
    rows = [(k, sentence(k), k * 7919 % 13, "", ("yes", "no")[k % 2]) for k in range(N)]
    prepared = make(as_csv(("id", "words", "extra", "hollow", "label"), rows), data={"drop": "extra"})
    assert prepared.schema["modality"] == "text"
    assert [c["name"] for c in prepared.schema["columns"] if c["role"] == "feature"] == ["words"]


@pytest.mark.parametrize(
    "rows",
    [
        [(sentence(k), k * 7919 % 13, ("yes", "no")[k % 2]) for k in range(N)],
        [(("red wine", "dry white wine from here", "beer")[k % 3], "", ("yes", "no")[k % 2]) for k in range(N)],
        [(sentence(k), sentence(k + 1), ("yes", "no")[k % 2]) for k in range(N)],
        [(f"{k}@example.com", "", ("yes", "no")[k % 2]) for k in range(N)],
        [(f"{k * 7919 % 997}.5", "", ("yes", "no")[k % 2]) for k in range(N)],
        [(f"0{k * 7919 % 9}", "", ("yes", "no")[k % 2]) for k in range(N)],
    ],
    ids=["beside a number", "a few values", "two texts", "one word", "numbers", "codes"],
)
def test_other_tables_stay_tables(make: Make, rows: list[tuple[Any, ...]]) -> None:
    prepared = make(as_csv(("a day", "b", "label"), rows))
    assert prepared.schema["modality"] == prepared.profile["modality"] == "table"
    assert all(column["kind"] != "text" for column in prepared.schema["columns"])


def test_a_column_that_is_called_text_is_one_however_short(make: Make) -> None:
    prepared = make(table(lambda k: f"word{k}", ("Text", "label")))
    assert prepared.schema["modality"] == "text"


def test_the_specification_names_the_text_and_the_rest_is_left_out(make: Make) -> None:
    rows = [(("yes", "no")[k % 2], k * 7919 % 13, sentence(k)) for k in range(N)]
    content = as_csv(("verdict", "x", "words"), rows)
    prepared = make(content, data={"text": "words", "drop": "x"})
    assert (prepared.schema["modality"], prepared.schema["target"]) == ("text", "x")
    prepared = make(content, data={"text": "words", "target": "verdict"})
    reasons = {c["name"]: (c["role"], c["reason"]) for c in prepared.schema["columns"]}
    assert reasons == {"verdict": ("target", None), "x": ("dropped", "beside text"), "words": ("feature", None)}
    assert "COLUMN_BESIDE_TEXT" in codes(prepared)


@pytest.mark.parametrize(
    ("data", "code"),
    [({"text": "wrods"}, "TEXT_NOT_FOUND"), ({"text": "label", "target": "label"}, "TEXT_IS_TARGET")],
)
def test_a_text_that_cannot_be_is_refused_with_a_remedy(make: Make, data: dict[str, str], code: str) -> None:
    with pytest.raises(BadTable) as caught:
        make(table(), data=data)
    assert caught.value.code == code
    assert caught.value.remedy


def test_naming_no_text_leaves_ids_of_datasets_as_they_were(make: Make) -> None:
    assert "text" not in make(table()).schema["spec"]["data"]
    assert make(table(), data={"text": "words"}).dataset != make(table()).dataset


def test_the_same_texts_and_wishes_give_the_same_files(make: Make) -> None:
    assert manifest.read(make(table()).folder) == manifest.read(make(table()).folder)


def test_texts_that_say_nothing_are_set_aside_however_many(make: Make) -> None:
    prepared = make(table(lambda k: sentence(k) if k % 3 else ("", " \u200b ", "\u00a0")[k % 9 // 3]))
    assert prepared.profile["quarantined"] == {"ROW_TEXT_EMPTY": N / 3}
    assert prepared.rows["read"] == prepared.rows["used"] + prepared.rows["quarantined"]


def test_words_that_stand_for_no_value_elsewhere_are_texts_here(make: Make) -> None:
    prepared = make(table(lambda k: "null" if k == 5 else "无" if k == 6 else sentence(k)))
    assert prepared.rows["quarantined"] == 0
    assert {"null", "无"} <= {text for rows in every(prepared).values() for text, _ in rows}


def long(number: int) -> str:
    return sentence(number) * 1_500 if number % 4 == 0 else sentence(number)


@pytest.mark.parametrize("data", [{}, {"text": "words"}])
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_long_texts_are_cut_and_counted_and_no_row_is_lost(tmp_path: Path, form: str, data: dict[str, str]) -> None:
    rows = [{"words": long(k), "label": ("yes", "no")[k % 2]} for k in range(N)]
    content = {
        "csv": lambda: table(long).encode(),
        "jsonl": lambda: "\n".join(map(json.dumps, rows)).encode(),
        "parquet": lambda: _parquet(rows),
    }[form]()
    prepared = prepare(io.BytesIO(content), f"t.{form}", Spec.from_json({"data": data}), tmp_path / "d", model="m")
    assert (prepared.rows["used"], prepared.rows["quarantined"]) == (N, 0)
    (warned,) = (item for item in prepared.profile["warnings"] if item["code"] == "ROW_FIELD_TOO_LONG")
    assert warned["message"].startswith("30 texts")
    lengths = [len(text) for rows in every(prepared).values() for text, _ in rows]
    assert (max(lengths), lengths.count(limit("text"))) == (limit("text"), 30)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def test_a_long_cell_of_a_table_is_still_set_aside(make: Make) -> None:
    rows = [("x" * 70_000 if k == 3 else "abc"[k % 3], k * 7919 % 13, ("yes", "no")[k % 2]) for k in range(N)]
    assert make(as_csv(("a", "b", "label"), rows)).profile["quarantined"] == {"ROW_FIELD_TOO_LONG": 1}


def test_texts_that_differ_in_nothing_one_can_read_fall_in_the_same_split(make: Make) -> None:
    shapes = (str, str.upper, lambda text: text.replace(" ", "  "), lambda text: text.replace("o", "o\u200b"))
    prepared = make(table(lambda k: shapes[k % 4](sentence(k // 4 * 2)), n=400))
    places: dict[str, set[str]] = {}
    for split, rows in every(prepared).items():
        for text, _ in rows:
            places.setdefault(" ".join(text.replace("\u200b", "").casefold().split()), set()).add(split)
    assert len(places) == 100
    assert all(len(splits) == 1 for splits in places.values())
    assert {"LABEL_CONFLICT", "WARN_INVISIBLE_TEXT"} <= codes(prepared)


def test_a_text_under_two_classes_is_counted_once(make: Make) -> None:
    prepared = make(table(lambda k: sentence(0) if k < 6 else sentence(k)))
    (warned,) = (item for item in prepared.profile["warnings"] if item["code"] == "LABEL_CONFLICT")
    assert warned["message"].startswith("1 different")
    assert "LABEL_CONFLICT" not in codes(make(table()))


def test_the_profile_tells_lengths_and_writing_and_holds_no_text(make: Make) -> None:
    prepared = make(table(lambda k: (sentence, chinese)[k % 4 == 0](k)))
    profile = prepared.profile["columns"]["words"]
    assert sum(profile["lengths"]["counts"]) == N
    assert profile["cjk_share"] == 0.25
    assert profile["distinct"] == N
    assert "story" not in json.dumps(prepared.profile) + json.dumps(prepared.schema)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("plain", False),
        ("b\u200bad", True),
        ("hi \U000e0069\U000e0067", True),
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f flag", False),
        ("👩\u200d👩\u200d👧 family", False),
        ("می\u200cخواهم", False),
        ("evil \u202etxt", True),
    ],
)
def test_only_what_hides_is_told(text: str, hidden: bool) -> None:
    assert hides(text) is hidden


def test_few_texts_are_enough_and_fewer_are_not(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = make(table(lambda k: "" if k % 2 == k % 4 else sentence(k), n=60))
    assert prepared.rows["used"] == 30
    monkeypatch.setitem(LIMITS, "good_texts", Limit(31, "texts", "for the test"))
    with pytest.raises(BadTable) as caught:
        make(table(lambda k: "" if k % 2 == k % 4 else sentence(k), n=60))
    assert caught.value.code == "TOO_FEW_ROWS"


def test_scores_can_be_shown_by_a_column_beside_the_text(make: Make) -> None:
    rows = [(sentence(k), "abc"[k % 3], ("yes", "no")[k % 2]) for k in range(N)]
    data = {"text": "words", "drop": "shop", "groups": ["shop", "words"]}
    prepared = make(as_csv(("words", "shop", "label"), rows), data=data)
    groups, (columns, _, _) = load_groups(prepared.folder, "train"), load_split(prepared.folder, "train")
    assert set(groups["shop"]) == set("abc")
    assert groups["words"].tolist() == columns["words"].tolist()


def test_a_dataset_of_texts_becomes_bags_and_sequences(make: Make) -> None:
    prepared = make(table(chinese))
    columns, target, hashes = load_split(prepared.folder, "train")
    assert columns["words"].dtype == object
    assert set(map(type, columns["words"])) == {str}
    program = features.fit(columns, prepared.schema, Spec())
    found = program.apply(columns)
    assert len(found.bag_nm) == len(found.seq_nt) == len(target) == len(hashes)
    assert np.all(found.weight_nm.any(axis=1))
    assert program.ignored == ("label",)
