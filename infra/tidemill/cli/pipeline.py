"""Looks into the running local stack: messages that gave up, messages that wait, and what functions failed with."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tidemill.cli.session import Session
from tidemill.cli.stack import module

FUNCTIONS = ("Preprocess", "Train", "Promote", "Predict", "Score", "Retrain", "Api", "Monitor", "Sweep")
FAULTS_SINCE_S = 900
_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    result: Literal["good", "note", "bad"]
    found: str
    remedy: str = ""


def pipeline(session: Session) -> Iterator[Check]:
    """Queues and faults of the running local stack; nothing where none runs or the stack is elsewhere."""
    if session.places.environment.get("TIDEMILL_URL"):
        return
    from botocore.exceptions import BotoCoreError, ClientError

    stack = module("tidemill.local.stack").status(session.places.state)
    if stack is None:
        return
    try:
        yield _queues(stack)
        yield _faults(stack)
    except (BotoCoreError, ClientError) as error:
        yield Check("Pipeline", "note", f"cannot be looked at: {error}", "Start the stack anew: `tidemill up`.")


def _queues(stack: Any) -> Check:
    sqs = stack.client("sqs")
    waiting: dict[str, int] = {}
    given_up: dict[str, int] = {}
    for name, url in stack.resources.items():
        if "://" not in url or not name.endswith(("Queue", "DeadLetters")):
            continue
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS))["Attributes"]
        number = sum(int(counts.get(count, 0)) for count in _COUNTS)
        if number:
            (given_up if name.endswith("DeadLetters") else waiting)[name] = number
    if given_up:
        return Check("Queues", "bad", f"given up: {_listed(given_up)}", "Read the functions' faults, mend, push again.")
    if waiting:
        return Check("Queues", "note", f"in work or waiting: {_listed(waiting)}", "Messages come back by themselves.")
    return Check("Queues", "good", "empty")


def _faults(stack: Any) -> Check:
    """What the functions logged as errors in the last quarter of an hour, the last of each."""
    logs = stack.client("logs")
    since = int((time.time() - FAULTS_SINCE_S) * 1000)
    found = {}
    for name in FUNCTIONS:
        query = {"logGroupName": f"/tidemill/{stack.name}/{name.lower()}", "startTime": since, "filterPattern": "ERROR"}
        try:
            events = logs.filter_log_events(**query)["events"]
        except logs.exceptions.ResourceNotFoundException:
            continue
        lines = [line for event in events if (line := _error_line(event["message"]))]
        if lines:
            found[name] = f"{lines[-1]} ({len(lines)}x)"
    if not found:
        return Check("Functions", "good", "no faults in the last 15 minutes")
    where = stack.state / "logs" / "server.log"
    return Check("Functions", "note", "; ".join(f"{name}: {said}" for name, said in found.items()), f"Read {where}.")


def _error_line(message: str) -> str:
    """The name of the error in one line of a function's log; empty for other lines."""
    try:
        line = json.loads(message)
    except ValueError:
        return ""
    if not isinstance(line, dict) or line.get("level") != "ERROR":
        return ""
    trace = line.get("stack_trace")
    value = str(trace.get("value", ""))[:160] if isinstance(trace, dict) else ""
    said = value or line.get("said") or line.get("detail") or line.get("message") or ""
    return f"{line.get('error') or line.get('code') or 'error'}: {str(said)[:160]}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} in {name}" for name, number in counts.items())
