"""Reading an expanded template: its resources, what they refer to, and who may do what, on what, for whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tidemill.cloud.expand import Template

Statement = dict[str, Any]
WRITES = ("s3:PutObject", "s3:Put*", "s3:*", "*")


def of_type(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """The properties of every resource of a type, by name."""
    return {
        name: item.get("Properties", {})
        for name, item in template["Resources"].items()
        if item["Type"] == f"AWS::{kind}"
    }


def target(node: Any) -> str:
    """The resource that a Ref or GetAtt names; empty for anything else."""
    if isinstance(node, dict) and len(node) == 1:
        ((name, body),) = node.items()
        if name in ("Ref", "Fn::GetAtt"):
            return str(body if name == "Ref" else body[0] if isinstance(body, list) else body.split(".")[0])
    return ""


def mappings(template: Template) -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """Event source mappings from queues of this template: name, properties, function, queue."""
    queues = of_type(template, "SQS::Queue")
    for name, mapping in of_type(template, "Lambda::EventSourceMapping").items():
        queue = target(mapping.get("EventSourceArn"))
        if queue in queues:
            yield name, mapping, target(mapping.get("FunctionName")), queue


def true(value: Any) -> bool:
    """Whether a property says true, as YAML or as text."""
    return str(value).lower() == "true"


def as_list(value: Any) -> list[Any]:
    """One or many, as a list."""
    return [] if value is None else value if isinstance(value, list) else [value]


def text(node: Any) -> str:
    """A value as one text in which references look like ${Name} and ${Name.Attribute}, however they were written."""
    if isinstance(node, dict) and len(node) == 1:
        ((name, body),) = node.items()
        if name == "Ref":
            return f"${{{body}}}"
        if name == "Fn::GetAtt":
            return f"${{{'.'.join(body) if isinstance(body, list) else body}}}"
        if name == "Fn::Sub":
            return str(body[0] if isinstance(body, list) else body)
        if name == "Fn::Join":
            return str(body[0]).join(map(text, body[1]))
    return node if isinstance(node, str) else json.dumps(node, sort_keys=True)


def of(properties: dict[str, Any], key: str = "PolicyDocument") -> list[Statement]:
    """The statements of a policy document."""
    return as_list((properties.get(key) or {}).get("Statement"))


def of_role(role: dict[str, Any]) -> list[Statement]:
    """The statements of all inline policies of a role."""
    return [statement for policy in role.get("Policies") or [] for statement in of(policy)]


def written(role: dict[str, Any], bucket: str) -> list[str]:
    """The key prefixes below `bucket` (its ARN and a slash) that a role may write."""
    found = []
    for statement in of_role(role):
        if statement.get("Effect") == "Allow" and set(map(text, as_list(statement.get("Action")))) & set(WRITES):
            for resource in map(text, as_list(statement.get("Resource"))):
                if resource == "*":
                    found.append("")
                elif resource.startswith(bucket):
                    found.append(resource.removeprefix(bucket).split("*")[0])
    return found


def sends(statement: Statement, service: str, queue: str) -> bool:
    """Whether a statement lets a service send messages to a queue."""
    principal = statement.get("Principal")
    services = as_list(principal.get("Service")) if isinstance(principal, dict) else []
    actions = {action.lower() for action in map(text, as_list(statement.get("Action")))}
    resources = set(map(text, as_list(statement.get("Resource"))))
    allowed = statement.get("Effect") == "Allow" and "sqs:sendmessage" in actions
    return allowed and service in services and f"${{{queue}.Arn}}" in resources


def sources(statement: Statement) -> set[str]:
    """The ARNs that a statement is limited to by aws:SourceArn."""
    tests = (statement.get("Condition") or {}).items()
    return {
        text(arn)
        for operator, condition in tests
        if operator.startswith(("Arn", "StringEquals", "StringLike"))
        for key, arns in condition.items()
        if key.lower() == "aws:sourcearn"
        for arn in as_list(arns)
    }


def everyone(statement: Statement) -> bool:
    """Whether a statement allows something to anyone at all, with no condition."""
    principal = statement.get("Principal")
    named = as_list(principal.get("AWS")) if isinstance(principal, dict) else as_list(principal)
    return statement.get("Effect") == "Allow" and "*" in named and not statement.get("Condition")


def containers(job: dict[str, Any]) -> list[dict[str, Any]]:
    """What a job definition starts: one container, or one for every range of nodes."""
    ranges = (job.get("NodeProperties") or {}).get("NodeRangeProperties") or []
    return [found.get("Container") or {} for found in ranges] or [job.get("ContainerProperties") or {}]
