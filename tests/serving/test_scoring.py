"""A file becomes predictions part by part: no row is lost, nothing is scored twice, and a kill changes no byte."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.doubles.disk import DiskS3
from tests.serving import bundle_factory, modality_factory
from tests.serving.scoring_factory import csv_of, model, people

from tidemill.core.errors import BadTable, SchemaMismatch
from tidemill.core.limits import LIMITS, Limit
from tidemill.core.prepare import convert
from tidemill.core.prepare.kinds import Plan
from tidemill.core.scoring.inputs import Reader, level_of
from tidemill.core.spec import Decision
from tidemill.core.storage import Storage
from tidemill.serving.predictor import Predictor
from tidemill.serving.scoring_parts import Model, Parts, join, write_parts

Results = dict[str, bytes]


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty rows a part, so that small files have several."""
    monkeypatch.setitem(LIMITS, "score_rows", Limit(50, "rows", "test"))


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., Results]:
    """Scores a file; returns the results by name."""

    def run(content: bytes, name: str, scorer: Model | None = None, s3: DiskS3 | None = None, **told: Any) -> Results:
        scorer = scorer or model(tmp_path / "bundle")
        path = tmp_path / "request"
        path.write_bytes(content)
        s3 = s3 or DiskS3(tmp_path / f"s3-{len(list(tmp_path.iterdir()))}")
        parts = Parts(Storage("artifacts", s3), "parts/m/s-1/")
        done = write_parts(path, name, scorer, parts, told.get("report", lambda _: None))
        files = join(parts, done, "results/", tmp_path)
        return {item["name"]: (s3.folder / "artifacts/results" / item["name"]).read_bytes() for item in files}

    return run


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def spoiled(table: Any) -> list[str]:
    """Lines of CSV, some of which cannot be read or do not fit."""
    lines = csv_of(table).decode().splitlines()
    lines[3] += ",one too many"
    lines[10] = lines[10].replace(lines[10].split(",")[1], "many", 1)
    lines[60] = ",".join([*lines[60].split(",")[:4], "yesterday"])
    lines[70] = lines[70].replace("," + lines[70].split(",")[1] + ",", ",not told,", 1)
    return lines


def test_rows_in_are_rows_out_and_rejects_and_every_reject_says_where_why_and_what_to_do(scored: Any) -> None:
    lines = spoiled(people(230))
    found = scored("\n".join(lines).encode() + b"\n", "people.csv")
    good, bad = rows_of(found["predictions.csv"]), rows_of(found["rejects.csv"])
    assert len(good) + len(bad) == 230
    assert {row["row"]: (row["code"], row["column"]) for row in bad} == {
        "4": ("ROW_RAGGED", ""),
        "11": ("VALUE_TYPE", "age"),
        "61": ("VALUE_TYPE", "hired"),
    }
    assert all(row["sentence"] and row["remedy"] for row in bad)
    assert sorted(int(row["row"]) for row in [*good, *bad]) == list(range(2, 232)), "the header is line 1"
    assert {row["row"] for row in good} >= {"71"}, "a word that stood for missing in training is missing here, too"
    for text in ("one too many", "yesterday"):
        assert text not in found["rejects.csv"].decode(), "no values of the user in the reasons"


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_predictions_are_those_of_the_api(scored: Any, tmp_path: Path, task: str) -> None:
    scorer = model(tmp_path / "bundle", task=task)
    asked = bundle_factory.rows_of(bundle_factory.columns(120, 5))
    answers = scorer.predictor.predict(asked)
    found = rows_of(scored(csv_of(people(120)), "people.csv", scorer)["predictions.csv"])
    for row, answer in zip(found, answers, strict=True):
        if task == "regression":
            assert float(row["value"]) == answer["value"]
            continue
        assert row["label"] == answer["label"]
        assert {label: float(row[f"probability:{label}"]) for label in scorer.predictor.labels} == answer[
            "probabilities"
        ]


def test_no_cell_of_a_csv_is_a_formula_and_numbers_stay_what_they_are(scored: Any) -> None:
    cells = ["=1+1", "+cmd|' /C calc'!A0", "-2+A1", "@SUM(A1)", "\t=1", "-5", "+49 (30) 123-4", "- ", "a=1", ""]
    table = people(len(cells)).append_column("=HYPERLINK(A1)", pa.array(cells))
    found = scored(csv_of(table), "people.csv")["predictions.csv"]
    rows = rows_of(found)
    shown = [row["'=HYPERLINK(A1)"] for row in rows]
    assert shown == [f"'{cell}" for cell in cells[:5]] + cells[5:]
    sink = io.BytesIO()
    pq.write_table(table, sink)
    kept = pq.read_table(io.BytesIO(scored(sink.getvalue(), "people.parquet")["predictions.parquet"]))
    assert kept["=HYPERLINK(A1)"].to_pylist() == cells, "no spreadsheet opens Parquet"


def test_a_decision_rule_is_followed_as_by_the_api(scored: Any, tmp_path: Path) -> None:
    costs = Decision(false_positive=1.0, false_negative=4.0)
    scorer = model(tmp_path / "bundle", outputs=bundle_factory.learned("binary", costs=costs))
    answers = scorer.predictor.predict(bundle_factory.rows_of(bundle_factory.columns(120, 5)))
    found = rows_of(scored(csv_of(people(120)), "people.csv", scorer)["predictions.csv"])
    assert [row["act"] == "true" for row in found] == [answer["decision"]["act"] for answer in answers]


def test_identifiers_and_columns_training_never_saw_go_along_and_others_do_not(scored: Any) -> None:
    table = people(60)
    for name, cell in (("constant", "1"), ("ticket", "t"), ("label", "mine"), ("income", ">50K")):
        table = table.append_column(name, pa.array([cell] * 60))
    found = rows_of(scored(csv_of(table), "people.csv")["predictions.csv"])
    assert [row["id"] for row in found] == [f"c{place}" for place in range(60)]
    assert {row["ticket"] for row in found} == {"t"} and {row["label__2"] for row in found} == {"mine"}
    assert {row["version"] for row in found} == {"3"} and not {"constant", "income", "age"} & found[0].keys()


def test_every_format_gives_the_same_predictions_and_comes_back_as_it_went(scored: Any, tmp_path: Path) -> None:
    table = people(130)
    pq.write_table(table, tmp_path / "people.parquet")
    lines = "".join(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in table.to_pylist())
    expected = rows_of(scored(csv_of(table), "people.csv")["predictions.csv"])
    packed = rows_of(scored(gzip.compress(csv_of(table)), "people.csv.gz")["predictions.csv"])
    from_json = scored(lines.encode(), "people.jsonl")["predictions.jsonl"]
    parquet = scored((tmp_path / "people.parquet").read_bytes(), "people.parquet")["predictions.parquet"]
    read = pq.read_table(io.BytesIO(parquet))
    assert packed == expected
    for rows in ([json.loads(line) for line in from_json.splitlines()], read.to_pylist()):
        assert [row["row"] for row in rows] == list(range(1, 131)), "records count from 1"
        for row, other in zip(rows, expected, strict=True):
            same = ("id", "label", "probability:<=50K", "probability:>50K")
            assert [str(row[name]) for name in same[:2]] == [other[name] for name in same[:2]]
            assert [row[name] for name in same[2:]] == [float(other[name]) for name in same[2:]]
    assert read.schema.field("row").type == pa.int64() and read.num_rows == 130


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_killed_at_any_write_and_resumed_the_bytes_are_the_same_and_no_part_is_made_again(
    scored: Any, tmp_path: Path, kind: str
) -> None:
    content = "\n".join(spoiled(people(230))).encode()
    if kind == "parquet":
        pq.write_table(people(230), tmp_path / "p")
        content = (tmp_path / "p").read_bytes()
    scorer, name = model(tmp_path / "bundle"), f"people.{kind}"
    whole = DiskS3(tmp_path / "whole")
    expected = scored(content, name, scorer, whole)
    for last in range(len(whole.puts)):
        s3 = DiskS3(tmp_path / f"killed-{last}")
        really = s3.put_object

        def put(s3: DiskS3 = s3, really: Any = really, last: int = last, **request: Any) -> Any:
            if len(s3.puts) == last:
                raise Killed
            return really(**request)

        s3.put_object = put  # type: ignore[method-assign]
        with pytest.raises(Killed):
            scored(content, name, scorer, s3)
        s3.put_object = really  # type: ignore[method-assign]
        assert scored(content, name, scorer, s3) == expected
        assert len(s3.puts) == len(set(s3.puts)) == len(whole.puts), "every part was written once"


def test_a_report_is_given_for_every_part_and_may_stop_between_two(scored: Any, tmp_path: Path) -> None:
    told: list[int] = []

    def report(done: dict[int, Any]) -> None:
        told.append(sum(part.rows_in for part in done.values()))
        if len(told) == 2:
            raise Killed

    with pytest.raises(Killed):
        scored(csv_of(people(230)), "people.csv", s3=DiskS3(tmp_path / "s3"), report=report)
    assert told == [50, 100]
    scored(csv_of(people(230)), "people.csv", s3=DiskS3(tmp_path / "s3"), report=lambda done: told.append(len(done)))
    assert told == [50, 100, 3, 4, 5], "the first two are not made again"


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (b"id,age,hours,work\n1,2,3,x\n", "a.csv", "FEATURE_MISSING"),
        (b"id,age,hours,work,hired\n", "a.csv", "NO_ROWS"),
        (b"%PDF-1.7", "a.pdf", "NOT_DATA_PDF"),
        (b"%PDF-1.7", "a.csv", "TYPE_MISMATCH"),
        (b"", "a.csv", "EMPTY_FILE"),
    ],
)
def test_a_file_that_cannot_be_scored_is_refused_with_the_readers_code(
    scored: Any, content: bytes, name: str, code: str
) -> None:
    with pytest.raises((BadTable, SchemaMismatch)) as caught:
        scored(content, name)
    assert caught.value.code == code and caught.value.remedy


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def of_modality(folder: Path) -> Model:
    predictor = Predictor.load(folder)
    return Model(1, predictor, Reader.of(predictor.program, {"columns": []}))


def test_a_zip_of_pictures_is_scored_and_what_is_no_picture_is_set_aside(scored: Any, tmp_path: Path) -> None:
    scorer = of_modality(modality_factory.make_pictures(tmp_path / "bundle"))
    members = {
        f"{place}-{side}.png": modality_factory.picture(side, place) for place, side in enumerate(["left", "right"] * 4)
    }
    found = scored(zipped({**members, "broken.png": b"no picture"}), "pictures.zip", scorer)
    good, bad = rows_of(found["predictions.csv"]), rows_of(found["rejects.csv"])
    assert {row["file"]: row["label"] for row in good} == {name: name[2:-4] for name in members}
    assert [(row["row"], row["column"]) for row in bad] == [("9", "picture")] and bad[0]["code"]


def test_texts_are_scored_from_a_zip_and_from_a_table(scored: Any, tmp_path: Path) -> None:
    scorer = of_modality(modality_factory.make_texts(tmp_path / "bundle"))
    texts = [modality_factory.text(mood, place) for place, mood in enumerate(["bad", "good"] * 4)]
    answers = [item["label"] for item in scorer.predictor.predict([{"review": text} for text in texts])]
    packed = zipped({f"{place}.txt": text.encode() for place, text in enumerate(texts)})
    found = rows_of(scored(packed, "texts.zip", scorer)["predictions.csv"])
    assert [(row["file"], row["label"]) for row in found] == [(f"{n}.txt", label) for n, label in enumerate(answers)]
    table = "".join(json.dumps({"n": place, "review": text}) + "\n" for place, text in enumerate([*texts, " "]))
    back = scored(table.encode(), "texts.jsonl", scorer)
    assert [json.loads(line)["label"] for line in back["predictions.jsonl"].splitlines()] == answers
    assert [row["code"] for row in rows_of(back["rejects.csv"])] == ["ROW_TEXT_EMPTY"]


def test_a_model_of_rows_refuses_an_archive_and_one_of_pictures_a_table(scored: Any, tmp_path: Path) -> None:
    for content, name, scorer in (
        (zipped({"a.txt": b"hello"}), "a.zip", None),
        (b"a,b\n1,2\n", "a.csv", of_modality(modality_factory.make_pictures(tmp_path / "pictures"))),
    ):
        with pytest.raises(BadTable) as caught:
            scored(content, name, scorer)
        assert caught.value.code == "WRONG_MODALITY"


@pytest.mark.parametrize(
    ("text", "levels", "expected"),
    [
        *(("1.0", {"1"}, "1"), ("1", {"1.0"}, "1.0"), ("-2", {"-2.0"}, "-2.0"), ("1.0", {"1.0", "1"}, "1.0")),
        *(("True", {"true"}, "true"), ("TRUE", {"True"}, "True"), ("x", {"y"}, "x")),
    ],
)
def test_a_level_is_found_however_the_file_writes_it(text: str, levels: set[str], expected: str) -> None:
    assert level_of(text, frozenset(levels)) == expected


def test_dates_read_all_at_once_are_the_dates_read_one_by_one() -> None:
    random = np.random.default_rng(0)
    seconds = random.integers(-5_000_000_000, 5_000_000_000, 300)
    texts = [str(np.datetime64(int(s), "s")).replace("T", " ") for s in seconds] + ["2024-05-31", "", None, "n/a"]
    odd = "31 May 2024"  # makes the column be read text by text
    plan = Plan("day", "datetime", order="year-month-day")
    fast, slow = (convert.convert(pa.array([*texts, *more], pa.string()), plan) for more in ([], [odd]))
    np.testing.assert_array_equal(fast.values, slow.values[:-1])
    assert not fast.errors.any() and np.isnan(fast.values[-3:]).all()
    refused = convert.convert(pa.array(["2024-05-31T13", "2024-05-31"]), plan)
    assert refused.errors.tolist() == [convert.TYPE, convert.OK]
