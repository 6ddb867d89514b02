"""tidemill cost: what the API says, in a table and in sums; another price table changes both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tidemill.core import prices


def test_every_run_stands_with_its_cost_and_the_sum_is_theirs(run: Any) -> None:
    shown = run("cost", "income").stdout
    assert "r-one" in shown and "r-two" in shown and "r-bad" in shown
    found = run.json("cost", "income")
    runs = {item["run"]: item for item in found["models"]["income"]["runs"]}
    assert runs["r-bad"]["usd"] is None
    assert found["total"] == round(sum(item["usd"] or 0 for item in runs.values()), 4) > 0
    assert found["models"]["income"]["thousand_predictions"]["usd"] > 0


def test_without_a_model_all_are_shown(run: Any) -> None:
    assert set(run.json("cost")["models"]) == {"income"}


def test_another_price_table_changes_the_sums(run: Any, tmp_path: Path) -> None:
    dear = tmp_path / "dear.toml"
    dear.write_text(prices.TABLE.read_text().replace("= 1.006", "= 100.6"))
    assert run.json("cost", "--prices", str(dear))["total"] > 50 * run.json("cost")["total"]


def test_a_table_that_is_none_is_refused_in_words(run: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[lambda]\ngb_second = 'much'\n")
    result = run("cost", "--prices", str(tmp_path / "bad.toml"))
    assert result.exit_code != 0
    assert "lambda.gb_second is 'much'" in result.output


def test_the_idle_stack_has_a_bill(run: Any) -> None:
    found = run.json("cost", "--idle")
    assert found["total"] == round(sum(line["usd"] for line in found["idle"]), 4)
    assert "a month" in run("cost", "--idle").stdout
