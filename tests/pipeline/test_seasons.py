"""A model lives through a year: a quiet season, another that the clock notices, and what is learned from it."""

from __future__ import annotations

import csv
import random
import time
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.conftest import Service, until

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(1200)]
FLIGHTS = Path(__file__).parent.parent / "data" / "flights-9000.csv"
NUMBERS = ("hour", "distance", "temp", "humid", "wind_speed", "visib")
ROWS_A_REQUEST = 100
FLUSHED_S = 32.0  # the request log is written when it is older than 30 s
SPEC = """
[data]
target = "late"
drop = ["month", "day"]
[train]
family = "linear"
[search]
configurations = 1
folds = 1
[schedule]
monitor = "rate(1 minute)"
"""
Row = dict[str, Any]


def flights() -> tuple[list[Row], list[Row]]:
    """Flights of January to June in a random order, and those of July to December as they came."""
    with FLIGHTS.open(newline="") as lines:
        found = list(csv.DictReader(lines))
    early, late = ([row for row in found if (int(row["month"]) <= 6) is first] for first in (True, False))
    random.Random(0).shuffle(early)
    return early, late


class Line:
    """Requests to one model, and what they turned out to be."""

    def __init__(self, service: Service, model: str) -> None:
        self.service, self.model = service, model

    def get(self, path: str) -> Any:
        answer = self.service.http.get(f"/models/{self.model}/{path}", headers=self.service.operate)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fly(self, rows: list[Row]) -> None:
        """Ask for predictions, then tell what was true."""
        for start in range(0, len(rows), ROWS_A_REQUEST):
            part = rows[start : start + ROWS_A_REQUEST]
            asked = {"rows": [self._asked(row) for row in part]}
            answer = self.service.http.post(f"/models/{self.model}/predict", headers=self.service.predict, json=asked)
            assert answer.status_code == 200, answer.text
            request = answer.headers["x-request-id"]
            labels = [{"request": request, "row": at, "label": row["late"]} for at, row in enumerate(part)]
            told = self.service.http.post(
                f"/models/{self.model}/feedback", headers=self.service.predict, json={"labels": labels}
            )
            assert told.status_code in (200, 202), told.text
        time.sleep(FLUSHED_S)
        self.service.http.post(
            f"/models/{self.model}/predict", headers=self.service.predict, json={"rows": [self._asked(rows[0])]}
        )

    @staticmethod
    def _asked(row: Row) -> Row:
        return {
            name: (float(value) if value else None) if name in NUMBERS else value
            for name, value in row.items()
            if name not in ("late", "month", "day")
        }


def test_drift_is_noticed_by_the_clock_and_what_was_learned_from_it_is_judged_on_the_same_rows(
    service: Service, new_model: Any, tmp_path: Path
) -> None:
    early, late = flights()
    model, path = new_model(), tmp_path / "flights.csv"
    with path.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(early[0]))
        writer.writeheader()
        writer.writerows(early[:3000])
    first = service.ended(model, service.upload(model, path, SPEC))
    assert first["decision"]["promoted"], first
    line = Line(service, model)

    line.fly(early[3000:3400])
    quiet = until(lambda: line.get("reports")["reports"])
    assert quiet[0]["drifted"] == [], "the same season is no drift"
    assert line.get("retrains")["retrains"] == []

    line.fly(late[:600])
    loud = until(lambda: [report for report in line.get("reports")["reports"] if report["drifted"]])
    assert "temp" in loud[0]["drifted"], "July is warm"

    attempt = until(lambda: [item for item in line.get("retrains")["retrains"] if item["why"] == "drift"])[0]
    assert attempt["state"] == "STARTED", attempt
    assert attempt["rows"]["base"] == 3000 and attempt["rows"]["labelled"] >= 900, attempt
    run = service.ended(model, attempt["upload"])
    decision = run["decision"]
    assert decision["code"] in ("BETTER", "NOT_BETTER") and decision["promoted"] is (decision["code"] == "BETTER")
    assert decision["evidence"]["against_champion"]["standard_error"] > 0, "both have answered the same rows"
    serving = line.get("history")["champion"]
    assert serving["version"] == (2 if decision["promoted"] else 1)
    print(f"drifted: {loud[0]['drifted']}; retrained on {attempt['rows']}; {decision['code']}: {decision['message']}")
