"""tidemill score: a file goes in, predictions come back, and every end has its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.doubles.plane import InProcess

ROWS = {"in": 3, "out": 2, "rejected": 1}
FILES = [{"name": name, "size_bytes": 4, "sha256": "0"} for name in ("predictions.csv", "rejects.csv")]


class Mill:
    """Plays S3 and Score: what is sent becomes a scoring that takes a step at every poll."""

    def __init__(self, run: Any) -> None:
        self.run, self.ending, self.steps = run, "DONE", iter(())
        self.fetched: list[str] = []
        run.transport = InProcess(run.plane.app, outside=self.take)
        run.pipeline.step = lambda: next(self.steps, None)

    def take(self, request: httpx.Request) -> httpx.Response:
        """The bucket: takes the form, gives the results."""
        if request.method == "GET":
            self.fetched.append(request.url.path)
            return httpx.Response(200, content=b"row,label\n" if "predictions" in request.url.path else b"row,code\n")
        key = request.read().split(b'name="key"\r\n\r\n')[1].split(b"\r\n")[0].decode()
        self.steps = self._play(key)
        return httpx.Response(204)

    def _play(self, key: str) -> Iterator[None]:
        item: dict[str, Any] = {"scoring": "s-1", "model": "income", "state": "RECEIVED", "request": {"key": key}}
        self.run.plane.scorings.items["income"] = [item]
        yield
        item |= {"state": "RUNNING", "version": 2}
        yield
        item["progress"] = {"parts": 1, "rows": {"in": 2, "out": 2, "rejected": 0}}
        yield
        item["state"] = self.ending
        if self.ending == "DONE":
            item |= {"rows": ROWS, "files": FILES, "results": "results/income/s-1/"}
        else:
            item["reason"] = {"code": "NO_ROWS", "message": "The file has no rows.", "remedy": "Send rows."}
        yield


@pytest.fixture
def mill(run: Any) -> Mill:
    return Mill(run)


def test_without_waiting_the_file_is_only_sent(run: Any, mill: Mill, table: Path) -> None:
    shown = run("score", str(table), "--model", "income")
    assert shown.exit_code == 0 and "results/income/" in shown.stdout
    assert not mill.fetched


def test_out_waits_and_fetches_predictions_and_the_rows_set_aside(run: Any, mill: Mill, table: Path) -> None:
    out = table.parent / "scored.csv"
    shown = run("score", str(table), "--model", "income", "--out", str(out))
    assert shown.exit_code == 0, shown.output
    for text in ("version 2, by the function: 2 rows read", "3 read, 2 predicted by version 2, 1 set aside"):
        assert text in shown.stdout
    assert out.read_text() == "row,label\n" and out.with_name("scored.rejects.csv").read_text() == "row,code\n"
    beside = run.json("score", str(table), "--model", "income", "--out", "-")
    assert beside["fetched"][0] == str(table.with_name("people.predictions.csv"))


@pytest.mark.parametrize(("ending", "code"), [("REJECTED", 4), ("FAILED", 1)])
def test_a_bad_end_is_told_with_its_reason(run: Any, mill: Mill, table: Path, ending: str, code: int) -> None:
    mill.ending = ending
    shown = run("score", str(table), "--model", "income", "--wait")
    assert shown.exit_code == code and "NO_ROWS" in shown.stdout and "Send rows." in shown.stdout


def test_waiting_ends_at_the_timeout_and_for_a_model_nobody_knows_at_once(run: Any, mill: Mill, table: Path) -> None:
    mill._play = lambda key: iter(())  # type: ignore[method-assign]
    assert run("score", str(table), "--model", "income", "--wait", "--timeout", "3").exit_code == 6
    assert run("score", str(table), "--model", "nobody", "--wait").exit_code == 3
