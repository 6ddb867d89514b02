"""Training again on the deployed stack: labels and requests become a run that says why, and the gate is stricter."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.conftest import Service, until

from tidemill.core.schedules import name_of
from tidemill.core.storage import Storage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]
SPEC = """
[train]
family = "linear"
epochs = 3
members = 1
[search]
configurations = 1
folds = 1
[schedule]
retrain = "rate(7 days)"
"""


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        age, hours, job = draw.randint(18, 80), draw.randint(1, 60), draw.choice(["clerk", "smith", "cook"])
        bought = age + hours + (20 if job == "cook" else 0) + draw.gauss(0, 8) > 85
        made.append({"age": age, "hours": hours, "job": job, "bought": "yes" if bought else "no"})
    return made


def send_feedback(artifacts: Storage, model: str, count: int) -> None:
    """What Predict and Api write: the requests of a day, and what they turned out to be."""
    said = rows(count, seed=2)
    requests = [
        {
            **{"request": f"q-{n}", "at": "2026-01-02T00:00:00Z", "index": [0]},
            "columns": {name: [value] for name, value in row.items() if name != "bought"},
        }
        for n, row in enumerate(said)
    ]
    labels = [{"request": f"q-{n}", "row": 0, "label": row["bought"]} for n, row in enumerate(said)]
    body = gzip.compress("\n".join(map(json.dumps, requests)).encode())
    artifacts.write_bytes(f"traffic/{model}/2026-01-02/1.jsonl.gz", body)
    artifacts.write_bytes(f"labels/{model}/1.jsonl", "\n".join(map(json.dumps, labels)).encode())


def test_labelled_requests_are_learned_from_and_the_run_says_why(
    service: Service, stack: Any, artifacts: Storage, new_model: Any, tmp_path: Path
) -> None:
    model, path = new_model(), tmp_path / "table.csv"
    lines = [",".join(map(str, row.values())) for row in rows(400, seed=1)]
    path.write_text("\n".join(["age,hours,job,bought", *lines]))
    first = service.ended(model, service.upload(model, path, SPEC))
    assert first["decision"]["promoted"], first

    def ask(method: str, path: str, **body: Any) -> Any:
        more = {"json": body} if method == "POST" else {}
        answer = service.http.request(method, f"/models/{model}/{path}", headers=service.operate, **more)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def answered(number: str) -> Any:
        return next((item for item in ask("GET", "retrains")["retrains"] if item.get("ask") == number), None)

    nothing = ask("POST", "retrain", why="too early")["ask"]
    assert until(lambda: answered(nothing))["reason"]["code"] == "NOTHING_NEW"
    send_feedback(artifacts, model, 60)
    number = ask("POST", "retrain", why="there are labels")["ask"]
    attempt = until(lambda: answered(number))
    assert attempt["state"] == "STARTED", attempt
    assert attempt["rows"] == {"base": 400, "labelled": 60, "unmatched": 0, "hidden": 0}
    run = service.ended(model, attempt["upload"])
    assert (run["state"], run["rows"]["read"]) == ("READY", 460)
    assert (run["trigger"]["why"], run["trigger"]["champion"], run["trigger"]["changed"]) == ("hand", 1, [])
    assert run["decision"]["code"] in ("BETTER", "NOT_BETTER", "WORSE_THAN_CHAMPION"), run["decision"]
    card = service.http.get(f"/models/{model}/card.json", headers=service.operate, params={"version": run["version"]})
    assert card.json()["trigger"]["labelled"] == 60

    clocks = stack.client("scheduler")
    place = {"GroupName": stack.resources["Schedules"], "Name": name_of("retrain", model)}
    clock = until(lambda: _found(clocks, place))
    assert (clock["ScheduleExpression"], clock["State"]) == ("rate(7 days)", "ENABLED")
    assert ask("POST", "schedule", paused=True)["paused"]
    assert until(lambda: clocks.get_schedule(**place)["State"] == "DISABLED")


def _found(clocks: Any, place: dict[str, str]) -> Any:
    try:
        return clocks.get_schedule(**place)
    except clocks.exceptions.ResourceNotFoundException:
        return None
