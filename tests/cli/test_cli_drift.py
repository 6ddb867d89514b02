"""tidemill drift and feedback: what a person reads of a report, and labels that are sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_drift_shows_what_changed_first_and_what_the_answers_are_worth(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    shown = run("drift", "income", "-o", str(out))
    assert shown.exit_code == 0 and "<title>report" in out.read_text()
    lines = shown.stdout.splitlines()
    (first,) = [line for line in lines if "1e-09" in line]
    assert (
        "hours" in first
        and "changed" in first
        and lines.index(first) < lines.index(next(line for line in lines if line.startswith("score of >50K")))
    )
    for text in ("Changed beyond chance", "0.77 to 0.85", "estimated now", "Taken at their word", "refused"):
        assert text in shown.stdout
    assert run.json("drift", "income")["drifted"] == ["hours"]
    assert run("drift", "income", "--time", "2020").exit_code == 4
    assert run("drift", "income", "--time", "20200101T000000000Z").exit_code == 3


def test_without_a_report_one_is_told_what_it_waits_for(run: Any) -> None:
    run.plane.registry.add("young")
    assert "nobody has looked yet" in run("drift", "young").stdout
    run.plane.registry.table.items["MODEL#young", "MONITOR"] = {"waiting": {"rows": 57, "least": 200}}
    assert "57 of 200 rows" in run("drift", "young").stdout
    assert "hours" in run("drift", "income", "--list").stdout


def test_labels_of_a_file_are_sent_and_wrong_ones_named(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("request,row,label\nabc=,0,>50K\nabc=,1,<=50K\n")
    assert run.json("feedback", str(file), "--model", "income") == {"model": "income", "labels": 2}
    kept = [body for (bucket, key), body in run.plane.s3.objects.items() if key.startswith("labels/income/")]
    assert len(kept) == 1 and [json.loads(line)["row"] for line in kept[0].splitlines()] == [0, 1]
    file.write_text("request,row,label\nabc=,0,rich\n")
    refused = run("feedback", str(file), "--model", "income")
    assert refused.exit_code == 4 and "rich" in refused.stderr
    file.write_text("id,label\nabc=,>50K\n")
    assert run("feedback", str(file), "--model", "income").exit_code == 4
