"""tidemill push: the file, the specification, the wait and what it ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.doubles.plane import DATA

from tidemill.cli.push import spec_text, to_toml
from tidemill.core.spec import Spec


def test_push_sends_the_file_and_says_how_to_follow_it(run: Any, table: Path) -> None:
    result = run("push", str(table), "--model", "people")
    assert result.exit_code == 0
    assert "tidemill runs people" in result.stdout
    assert table.read_bytes() in run.pipeline.sent[0]


def test_push_and_wait_shows_states_scores_decision_and_times(run: Any, table: Path) -> None:
    result = run("push", str(table), "--model", "people", "--wait")
    assert result.exit_code == 0, result.output
    for shown in ("UPLOADED", "RECEIVED", "PREPARED", "SUBMITTED", "RUNNING train 1/3", "READY"):
        assert shown in result.stdout
    for shown in ("log loss", "0.35", "0.33 to 0.37", "0.55", "In service: By 0.20 log loss.", "10 set aside"):
        assert shown in result.stdout
    for stage in ("upload", "preprocess", "wait", "train", "promote"):
        assert f"\n{stage} " in result.stdout
    assert "tidemill card people --version 1" in result.stdout


def test_push_and_wait_as_json_is_one_document(run: Any, table: Path) -> None:
    found = run.json("push", str(table), "--model", "people", "--wait")
    assert found["run"]["state"] == "READY"
    assert found["metrics"]["metrics"]["log_loss"]["baseline"] == 0.55
    assert set(found["times_s"]) == {"upload", "preprocess", "wait", "train", "promote"}


@pytest.mark.parametrize(
    ("ending", "code", "shown"),
    [
        (
            "rejected",
            4,
            ["NO_ROWS: No row is usable.", "What to do: Add rows.", "rejections/people/r-0123456789ab.json"],
        ),
        ("refused", 4, ["Not put in service (NOT_BETTER)"]),
        ("challenger", 0, ["In service as challenger"]),
        ("failed", 1, ["OUT_OF_MEMORY", "Smaller batches."]),
    ],
)
def test_push_and_wait_says_why_not(run: Any, table: Path, ending: str, code: int, shown: list[str]) -> None:
    run.pipeline.ending = ending
    result = run("push", str(table), "--model", "people", "--wait")
    assert result.exit_code == code
    for text in shown:
        assert text in result.stdout


def test_waiting_ends_at_the_timeout_and_says_where_it_stands(run: Any, table: Path) -> None:
    run.pipeline.step = lambda _=0.0: None
    result = run("push", str(table), "--model", "people", "--wait", "--timeout", "3")
    assert result.exit_code == 6
    assert "not received yet" in result.stderr
    assert "tidemill runs people" in result.stderr


def test_a_decision_that_never_comes_does_not_hold_the_command(run: Any, table: Path) -> None:
    run.pipeline.ending = "undecided"
    result = run("push", str(table), "--model", "people", "--wait")
    assert result.exit_code == 4
    assert "has not decided yet" in result.stdout


def test_target_and_task_become_the_specification(run: Any, table: Path) -> None:
    run("push", str(table), "--model", "people", "--target", 'odd "name"\\', "--task", "binary")
    ((bucket, key),) = [place for place in run.plane.s3.objects if place[0] == DATA]
    spec = Spec.from_toml(run.plane.s3.objects[bucket, key].decode())
    assert key.endswith("/tidemill.toml")
    assert (spec.data.target, spec.data.task) == ('odd "name"\\', "binary")


def test_options_stand_over_the_specification_file(tmp_path: Path) -> None:
    path = tmp_path / "tidemill.toml"
    path.write_text('[data]\ntarget = "a"\nid = ["n"]\n[train]\nepochs = 3\n')
    spec = Spec.from_toml(spec_text(path, "b", None) or "")
    assert (spec.data.target, spec.data.id, spec.train.epochs) == ("b", ("n",), 3)
    assert spec_text(path, None, None) == path.read_text()
    assert spec_text(None, None, None) is None
    assert Spec.from_toml(to_toml(Spec())) == Spec()


def test_a_wrong_specification_is_refused_before_anything_is_sent(run: Any, table: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[train]\nepochs = 0\n")
    result = run("push", str(table), "--model", "people", "--spec", str(tmp_path / "s.toml"))
    assert result.exit_code == 4
    assert "epochs is 0" in result.stderr
    assert not run.pipeline.sent


@pytest.mark.parametrize(
    ("name", "content", "code", "shown"),
    [("none.csv", None, 3, "is not a file"), ("empty.csv", b"", 4, "is empty")],
)
def test_a_file_that_cannot_be_sent(
    run: Any, tmp_path: Path, name: str, content: bytes | None, code: int, shown: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = run("push", str(tmp_path / name), "--model", "people")
    assert (result.exit_code, result.stdout) == (code, "")
    assert shown in result.stderr


def test_a_bucket_that_refuses_is_said_with_its_reason(run: Any, table: Path) -> None:
    run.pipeline.status = 400
    result = run("push", str(table), "--model", "people")
    assert result.exit_code == 4
    assert "EntityTooLarge" in result.stderr


def test_a_model_name_that_cannot_be_one_is_refused(run: Any, table: Path) -> None:
    result = run("push", str(table), "--model", "My Model")
    assert result.exit_code == 4
    assert "BAD_MODEL_NAME" in result.stderr
