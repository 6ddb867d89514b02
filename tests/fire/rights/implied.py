"""Calls that AWS makes in a role's name, or asks for beside a call, and that the local stack makes without asking.

Each is read off what is deployed, so a new queue, function or clock brings its own. What AWS asks for is documented:
an event source mapping of SQS needs three rights (Lambda developer guide, "Using Lambda with Amazon SQS"), a function
two to log (the managed policy AWSLambdaBasicExecutionRole without the group, which the template makes), a schedule
those of its target, who makes one with a role the right to pass it on, and GetLogEvents is asked of a stream.
"""

from __future__ import annotations

from typing import Any

QUEUE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
LOGS = ("logs:CreateLogStream", "logs:PutLogEvents")


def implied(stack: Any) -> list[dict[str, Any]]:
    """Role, action, resource and context of each such call."""
    functions = {each["FunctionArn"]: each for each in _functions(stack)}
    found = []
    for mapping in stack.client("lambda").list_event_source_mappings()["EventSourceMappings"]:
        role = _role(functions[mapping["FunctionArn"]])
        found += [_call(role, action, mapping["EventSourceArn"]) for action in QUEUE]
    for function in functions.values():
        group = f"arn:aws:logs:{stack.region}:{stack.account}:log-group:{function['LoggingConfig']['LogGroup']}"
        found += [_call(_role(function), action, f"{group}:log-stream:today") for action in LOGS]
        found += _clocks(function)
    stream = f"arn:aws:logs:{stack.region}:{stack.account}:log-group:/aws/batch/job:log-stream:a/b/c"
    return [*found, _call(stack.resources["ApiRole"], "logs:GetLogEvents", stream)]


def _clocks(function: dict[str, Any]) -> list[dict[str, Any]]:
    told = function["Environment"]["Variables"]
    role = told.get("TIDEMILL_SCHEDULER_ROLE_ARN")
    if not role:
        return []
    names = ("MONITOR_QUEUE_ARN", "RETRAIN_QUEUE_ARN", "SCHEDULE_DEAD_LETTERS_ARN")
    woken = [_call(role.rpartition("/")[2], "sqs:SendMessage", told[f"TIDEMILL_{name}"]) for name in names]
    passed = {"iam:passedtoservice": "scheduler.amazonaws.com"}
    return [*woken, {**_call(_role(function), "iam:PassRole", role), "context": passed}]


def _functions(stack: Any) -> list[dict[str, Any]]:
    pages = stack.client("lambda").get_paginator("list_functions").paginate()
    return [function for page in pages for function in page["Functions"]]


def _role(function: dict[str, Any]) -> str:
    return str(function["Role"]).rpartition("/")[2]


def _call(role: str, action: str, resource: str) -> dict[str, Any]:
    return {"role": role, "action": action, "resource": resource, "context": {}}
