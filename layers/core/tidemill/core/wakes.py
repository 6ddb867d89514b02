"""What wakes Retrain: a clock, drift, labels, a person, or a version that went into service."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from tidemill.core.labelled import labels_in
from tidemill.core.names import may_name
from tidemill.core.storage import Storage
from tidemill.core.uploads import uploads_of

Why = Literal["schedule", "drift", "labels", "hand", "clocks"]
AUTOMATIC = ("schedule", "drift", "labels")
_EVENTS: dict[str, Why] = {"DriftDetected": "drift", "ModelPromoted": "clocks", "ModelRolledBack": "clocks"}


@dataclass(frozen=True)
class Wake:
    """One wish about one model: to train it again, or (clocks) to see to its schedules."""

    model: str
    why: Why
    by: str = ""  # the person, where one asked
    ask: str = ""  # the number of their question, so that they find the answer
    said: str = ""  # their reason
    report: str = ""  # of the monitor, where it saw drift
    version: int = 0  # that the drift was seen with
    labels: int = 0  # that came with it

    def told(self) -> dict[str, Any]:
        """What of it is worth keeping beside what came of it."""
        kept = {name: getattr(self, name) for name in ("by", "ask", "said", "report")}
        return {name: value for name, value in kept.items() if value}


def wakes_of(body: str, artifacts: Storage) -> list[Wake]:
    """The wishes in one message: our own, an event of the bus, or S3's notice of a file of labels."""
    message = json.loads(body)
    if "wake" in message:
        found = [_asked(message)]
    elif message.get("detail-type") in _EVENTS:
        found = [_told(_EVENTS[message["detail-type"]], message["detail"])]
    else:
        found = [
            Wake(item.model, "labels", labels=len(labels_in(artifacts.read_bytes(item.key))))
            for item in uploads_of(body)
            if item.key.startswith("labels/")
        ]
    return [wake for wake in found if may_name(wake.model)]


def _asked(message: dict[str, Any]) -> Wake:
    why: Why = "clocks" if message["wake"] == "clocks" else message.get("why", "schedule")
    by, ask, said = (str(message.get(name) or "") for name in ("by", "ask", "said"))
    return Wake(str(message["model"]), why, by, ask, said)


def _told(why: Why, detail: dict[str, Any]) -> Wake:
    return Wake(
        str(detail["model"]), why, report=str(detail.get("report") or ""), version=int(detail.get("version") or 0)
    )
