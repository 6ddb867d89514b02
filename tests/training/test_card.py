"""The model card: complete, readable offline, and unmoved by whatever a column is called."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tidemill.core import features
from tidemill.core.evaluation import evaluate
from tidemill.core.metrics import baseline_of
from tidemill.core.spec import Spec
from tidemill.training.card import plots, settings, svg, text, verdict, write_card

HOSTILE = "<script>alert(1)</script>"
BIDI = "\u202egnp.exe\x1b[31m\x00'\"`$(id)\ud800"
NAMES = ("年龄", "العلاقة", HOSTILE, BIDI, "JSON\nJSON", "</style><img src=x onerror=alert(1)>")
VOID = {"meta", "link", "br", "img", "input", "hr"}


def inputs(task: str, rows: int = 600, classes: int = 3, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """All arguments of write_card for a small made-up model; the last two columns are categories."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(rows, len(names)))
    labels = {"binary": ["no", "yes"], "multiclass": [f"class {HOSTILE} {k}" for k in range(classes)]}.get(task, [])
    columns: dict[str, Any] = {name: x[:, at] for at, name in enumerate(names)}
    for name in names[-2:]:
        columns[name] = np.array([("左" if value > 0 else BIDI) for value in columns[name]], dtype=object)
    described = [_column(name, values) for name, values in columns.items()]
    signal = x[:, 0] + 0.5 * rng.normal(size=rows)
    y: Any
    if labels:
        y = np.searchsorted(np.quantile(signal, np.linspace(0, 1, len(labels) + 1)[1:-1]), signal)
        scores = np.exp(-((x[:, :1] - np.linspace(-1, 1, len(labels))) ** 2) * 2)
        scores /= scores.sum(1, keepdims=True)
    else:
        y, scores = 100_000 + 50_000 * signal, 100_000 + 50_000 * x[:, 0]
    target = {"name": "收入", "kind": "category" if labels else "number", "role": "target", "reason": None}
    schema = {
        "format": 1,
        "model": "demo",
        "dataset": "d-0123456789abcdef",
        "target": "收入",
        "task": task,
        "labels": labels,
        "columns": [*described, {**target, "missing": 0, "distinct": 2, "levels": labels}, _dropped()],
        "rows": {"read": rows + 2, "used": rows, "quarantined": 2, "train": rows, "validation": 0, "test": rows},
    }
    history = [{"epoch": at, "train_loss": 1 / at, "validation_loss": 1.2 / at + 0.01 * at} for at in range(1, 20)]
    metrics = evaluate(task, labels, y, scores, baseline=baseline_of(task, y, len(labels)), history=history)
    parts = [
        {"column": name, "value": columns[name][0], "contribution": 0.1 - 0.04 * at} for at, name in enumerate(names)
    ]
    answer = {"answer": labels[0], "target": labels[-1]} if labels else {"answer": 1.5}
    explained = {"row": 7, "actual": labels[0] if labels else 2.5, "baseline": 0.4, "prediction": 0.6, **answer}
    return {
        "schema": schema,
        "profile": {
            "source": {"format": "csv", "encoding": "gb18030"},
            "target": {"name": "收入", "how": "The target 收入 was named."},
            "split": {"how": "Rows are split by hash."},
            "quarantined": {"RAGGED_ROW": 2},
            "duplicate_rows": 4,
            "columns": {name: _profiled(values) for name, values in columns.items()},
            "warnings": [
                {"code": "LEAK", "column": HOSTILE, "message": f"{HOSTILE} tells the target.", "remedy": "Drop it."}
            ],
        },
        "spec": Spec.from_toml('[train]\nepochs = 40\n[data]\ndrop = ["<b>"]'),
        "metrics": metrics,
        "program": features.fit(columns, schema, Spec()),
        "importance": [{"column": name, "importance": 0.1 * (at + 1)} for at, name in enumerate(names)],
        "examples": {
            "request": {name: columns[name][0] for name in names},
            "explanations": [{**explained, "contributions": parts}],
        },
        "run": {
            "model": "demo",
            "run": "r-1",
            "version": 3,
            "created": "2026-03-01T10:12:44Z",
            "code": "0.1.0+abc",
            "versions": {"jax": "0.10.2"},
            "seconds": 93.25,
            "stages": {"fit": 61.0},
            "device": "NVIDIA H100",
            "parity": {"rows": 64, "max_abs_difference": 2.5e-7, "bound": 1e-4},
        },
    }


def _column(name: str, values: Any) -> dict[str, Any]:
    entry = {"name": name, "role": "feature", "reason": None, "missing": 0, "distinct": len(set(values))}
    if values.dtype == object:
        return {**entry, "kind": "category", "levels": sorted(set(values)), "rare": False}
    return {**entry, "kind": "number", "min": min(values), "max": max(values), "mean": 0.0, "skew": 0.0, "log1p": False}


def _dropped() -> dict[str, Any]:
    return {"name": "row id", "kind": "number", "role": "dropped", "reason": "identifier", "missing": 0, "distinct": 9}


def _profiled(values: Any) -> dict[str, Any]:
    if values.dtype == object:
        return {"top": [{"value": BIDI, "rows": 300}, {"value": "左", "rows": 299}]}
    counts, edges = np.histogram(values, 20)
    return {"histogram": {"edges": edges.tolist(), "counts": counts.tolist()}}


class Page(HTMLParser):
    """The page as a browser's parser sees it; complains about tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(params=["binary", "multiclass", "regression"])
def given(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The arguments of a card for each task."""
    return inputs(request.param)


def written(folder: Path, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The page and the facts of a card."""
    write_card(folder, **given)
    return (folder / "card.html").read_text("utf-8"), json.loads((folder / "card.json").read_text("utf-8"))


def test_the_page_is_well_formed_and_loads_nothing(tmp_path: Path, given: dict[str, Any]) -> None:
    html, _ = written(tmp_path, given)
    page = Page(html)
    assert page.tags[0] == ("html", {"lang": "en"})
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "style")], tag
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"url\(|@import|http:|https:", html)


def test_the_policy_of_the_page_allows_its_own_style_and_nothing_else(tmp_path: Path) -> None:
    html, _ = written(tmp_path, inputs("binary"))
    policy = next(a["content"] for _, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'; style-src 'sha256-")
    import base64
    import hashlib

    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style and base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in policy


def test_hostile_names_are_shown_and_harmless(tmp_path: Path, given: dict[str, Any]) -> None:
    html, card = written(tmp_path, given)
    page = Page(html)
    assert HOSTILE in page.text and "年龄" in page.text and "العلاقة" in page.text
    assert "[U+202E]gnp.exe␛[31m␀" in page.text
    assert not re.search("[\u0000-\u0008\u000b-\u001f\u007f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html)
    assert BIDI in [column["name"] for column in card["data"]["columns"]], "card.json keeps the name itself"


def test_every_metric_class_column_setting_and_warning_is_on_the_page(tmp_path: Path, given: dict[str, Any]) -> None:
    html, card = written(tmp_path, given)
    words = Page(html).text
    for item in given["metrics"]["metrics"].values():
        assert f"{item['label']} " in words and text.number(item["value"]) in words
    for item in given["metrics"]["per_class"]:
        assert text.visible(item["label"], 80) in words
    for column in given["schema"]["columns"]:
        assert " ".join(text.visible(column["name"], 80).split()) in words
    for setting in card["recipe"]["settings"]:
        assert setting["key"] in words
    assert "LEAK" in words and "Drop it." in words and "identifier" in words
    for said in (
        "d-0123456789abcdef",
        "0.1.0+abc",
        "jax 0.10.2",
        "2.50 × 10⁻⁷",
        "1 min 33 s",
        "NVIDIA H100",
        "RAGGED_ROW",
    ):
        assert said in words


def test_the_plots_of_the_task_are_drawn_with_words_for_those_who_do_not_see_them(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    html, _ = written(tmp_path, given)
    drawn = {
        "binary": {"confusion", "roc", "calibration"},
        "multiclass": {"confusion", "calibration"},
        "regression": {"predicted", "errors"},
    }[given["schema"]["task"]]
    found = re.findall(r"<svg .*?</svg>", html, re.DOTALL)
    names = set()
    for picture in found:
        root = ElementTree.fromstring(picture)  # noqa: S314 - our own page
        assert root.get("role") == "img"
        if root.get("class") == "plot":
            name = (root.get("aria-labelledby") or "").split()[0].removesuffix("-title")
            names.add(name)
            assert root[0].tag == "title" and root[0].text and root[1].tag == "desc" and root[1].text
    assert names == drawn | {"learning", "importance", "explained-0"}
    assert "nan" not in " ".join(found).lower().replace("explanation", "")


def test_ids_are_unique_and_every_link_leads_somewhere(tmp_path: Path, given: dict[str, Any]) -> None:
    tags = Page(written(tmp_path, given)[0]).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(attributes["href"] or "")[1:] for tag, attributes in tags if tag == "a"} <= set(ids)


def test_the_same_inputs_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    write_card(tmp_path, **inputs("binary"))
    other = tmp_path / "other"
    other.mkdir()
    code = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
        f"from pathlib import Path; import test_card as t; t.write_card(Path({str(other)!r}), **t.inputs('binary'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for name in ("card.html", "card.json"):
        assert (tmp_path / name).read_bytes() == (other / name).read_bytes()


def test_a_card_takes_well_under_three_seconds_from_a_cold_start() -> None:
    code = "import time; t = time.process_time(); import tidemill.training.card.page as p; p._environment()\n"
    code += "p._environment().get_template('page.html.j2'); import sys; print(time.process_time() - t)\n"
    code += "assert 'matplotlib' not in sys.modules and 'jax' not in sys.modules"
    env_path = [item for item in sys.path if item]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {env_path!r}\n{code}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert float(run.stdout) < 3


def test_a_model_that_is_not_better_than_the_baseline_says_so_first(tmp_path: Path) -> None:
    given = inputs("binary")
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 600)
    p = np.clip(0.5 + 0.02 * rng.normal(size=600), 0.01, 0.99)
    given["metrics"] = evaluate(
        "binary", ["no", "yes"], y, np.stack([1 - p, p], 1), baseline=baseline_of("binary", y, 2)
    )
    html, card = written(tmp_path, given)
    assert card["headline"]["verdict"] in ("level", "worse")
    assert card["warnings"][0]["code"] == "NOT_BETTER_THAN_BASELINE" and card["warnings"][0]["remedy"]
    assert "has not been shown to be of use" in card["headline"]["sentence"] or "must not be used" in html
    assert card["limits"]["not_for"][0].startswith("Any use in earnest")


def test_a_rare_class_moves_the_first_sentence_from_accuracy_to_ranking(tmp_path: Path) -> None:
    given = inputs("binary", rows=1500)
    rng = np.random.default_rng(3)
    y = (rng.random(1500) < 0.04).astype(int)
    p = np.clip(0.04 + 0.3 * y + 0.05 * rng.random(1500), 0, 1)
    given["metrics"] = evaluate(
        "binary", ["no", "yes"], y, np.stack([1 - p, p], 1), baseline=baseline_of("binary", y, 2)
    )
    _, card = written(tmp_path, given)
    assert "of such pairs" in card["headline"]["sentence"] and "RARE_CLASS" in {
        item["code"] for item in card["warnings"]
    }


def test_private_levels_are_not_shown_by_example(tmp_path: Path) -> None:
    given = inputs("binary", names=("age", "phone", "city"))
    for column in given["schema"]["columns"]:
        if column["name"] == "city":
            column["levels"] = []
    given["profile"]["columns"].pop("city")
    given["examples"]["request"]["city"] = "SECRET-1"
    given["examples"]["explanations"][0]["contributions"][-1]["value"] = "SECRET-1"
    html, card = written(tmp_path, given)
    assert "SECRET-1" not in html and "SECRET-1" not in json.dumps(card)
    assert card["request"]["city"] == "(private)"


def test_the_command_of_the_page_sends_the_row_through_a_real_shell(tmp_path: Path) -> None:
    """A curl that prints its input stands in for the real one: the row must come out as it is in card.json."""
    html, card = written(tmp_path, inputs("binary", names=("it's", '$(id) `id` "x"', BIDI, "JSON\nJSON")))
    command = re.search(r"<pre [^>]*>(.*?)</pre>", html, re.DOTALL)
    assert command
    import html as markup

    script = "curl() { cat; }\n" + markup.unescape(command[1])
    out = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout
    assert json.loads(out) == {"row": card["request"]}


def test_many_classes_and_many_columns_stay_readable(tmp_path: Path) -> None:
    given = inputs("multiclass", classes=30)
    extra = [{**given["schema"]["columns"][0], "name": f"column {at}"} for at in range(400)]
    given["schema"]["columns"] += extra
    html, card = written(tmp_path, given)
    assert "Most frequent confusions" in html and "more columns are in card.json" in html
    assert len(card["data"]["columns"]) == len(given["schema"]["columns"])
    assert len(html) < 400_000


def test_parity_is_read_from_the_bundle_where_the_run_does_not_bring_it(tmp_path: Path) -> None:
    given = inputs("regression")
    del given["run"]["parity"]
    (tmp_path / "parity.json").write_text('{"rows": 3, "max_abs_difference": 0.00003, "bound": 0.0001}')
    assert written(tmp_path, given)[1]["parity"]["rows"] == 3


def test_a_card_is_written_with_the_least_of_facts(tmp_path: Path) -> None:
    given = inputs("binary")
    given |= {"profile": {}, "importance": [], "examples": {}, "run": {}}
    given["schema"]["columns"] = [
        {name: column[name] for name in ("name", "kind", "role")} for column in given["schema"]["columns"]
    ]
    given["metrics"] |= {"curves": {}, "history": [], "confusion": None, "per_class": [], "warnings": []}
    Page(written(tmp_path, given)[0])


def test_both_losses_are_drawn_however_far_they_lie_apart() -> None:
    history = [{"epoch": at, "train_loss": 0.5 / at, "validation_loss": 30_000.0 + at} for at in range(1, 5)]
    drawn = str(plots.learning(history, "RMSE"))
    assert "RMSE by epoch (training and validation rows)" in drawn and "RMSE, logarithmic" in drawn
    near = [{"epoch": at, "train_loss": 0.5 / at, "validation_loss": 0.6 / at} for at in range(1, 5)]
    assert "logarithmic" not in str(plots.learning(near)) and str(plots.learning(near)).count('class="line') == 4


def test_every_setting_of_the_specification_has_a_meaning() -> None:
    keys = {f"{part.name}.{item.name}" for part in fields(Spec) for item in fields(getattr(Spec(), part.name))}
    assert set(settings.MEANING) == keys


@pytest.mark.parametrize(
    ("value", "low", "high", "better", "said"),
    [(0.3, 0.2, 0.4, "lower", "better"), (0.6, 0.55, 0.7, "lower", "worse"), (0.5, 0.4, 0.6, "lower", "level"),
     (0.6, 0.55, 0.7, "higher", "better"), (0.3, 0.2, 0.4, "higher", "worse"), (0.6, None, None, "higher", "better")],
)  # fmt: skip
def test_a_metric_is_better_only_where_its_whole_interval_is(
    value: float, low: float | None, high: float | None, better: str, said: str
) -> None:
    assert verdict.against({"value": value, "low": low, "high": high, "baseline": 0.5, "better": better}) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.85432, "0.8543"), (0, "0"), (-0.00001, "−1.00 × 10⁻⁵"), (1234.0, "1234"), (180_921.4, "180,921"), (None, "–"),
     (float("nan"), "–"), (386_645_936.2, "3.87 × 10⁸"), (True, "True"), (0.012345, "0.0123"), (float("inf"), "∞")],
)  # fmt: skip
def test_numbers_are_written_with_four_digits(value: Any, said: str) -> None:
    assert text.number(value) == said


def test_text_is_cut_by_the_width_it_takes() -> None:
    assert text.cut("每周工作小时数", 9) == "每周工作…" and text.cut("short", 9) == "short"


def test_shares_are_never_rounded_to_nothing_or_everything() -> None:
    assert [text.percent(share) for share in (0, 0.0001, 0.5, 0.9999, 1)] == [
        "0.0 %",
        "< 0.1 %",
        "50.0 %",
        "> 99.9 %",
        "100.0 %",
    ]


def test_ticks_are_round_and_inside() -> None:
    assert svg.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert svg.ticks(13.2, 97.1, 4) == [20, 40, 60, 80]
    assert svg.ticks(1, 1) == [1]


def test_the_card_says_which_groups_were_looked_at_and_that_others_were_not() -> None:
    schema = {"target": "hired", "columns": []}
    metrics = {"primary": "log_loss", "metrics": {"log_loss": {"value": 0.3, "low": 0.2, "high": 0.4, "baseline": 0.6}}}
    without = " ".join(verdict.limits(schema, metrics)["not_for"])
    shown = " ".join(verdict.limits(schema, metrics, [{"column": "sex"}])["not_for"])
    assert "Fairness between groups was not examined" in without
    assert "shown for sex and were not examined for anything else" in shown
