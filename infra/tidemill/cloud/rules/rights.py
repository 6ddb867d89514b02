"""Who may do what: roles, policies, permissions, secrets, the network."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidemill.cloud.expand import Template
from tidemill.cloud.rules import reading
from tidemill.cloud.rules.reading import as_list, containers, of_type, target, text

Wrong = Iterator[tuple[str, str]]
# Actions that know no resource, and so must be allowed on "*".
STAR_RESOURCES = frozenset({"batch:DescribeJobs", "batch:ListJobs"})
SECRET = re.compile(r"(?i)secret|password|passwd|token|api_?key|credential|private_?key")


def every_function_has_a_role_of_its_own(template: Template) -> Wrong:
    """A shared role is the union of everyone's rights."""
    owners: dict[str, list[str]] = {}
    for name, function in of_type(template, "Lambda::Function").items():
        owners.setdefault(target(function.get("Role")), []).append(name)
    for role, names in owners.items():
        if not role:
            yield from ((name, "has no role in this template") for name in names)
        elif len(names) > 1:
            yield role, f"is shared by {', '.join(names)}"


def rights_are_named(template: Template) -> Wrong:
    """No wildcard for actions; none for resources but where AWS knows no other."""
    for name, role in of_type(template, "IAM::Role").items():
        for statement in reading.of_role(role):
            if statement.get("Effect") != "Allow":
                continue
            actions = [text(action) for action in as_list(statement.get("Action"))]
            if "NotAction" in statement or any("*" in action for action in actions):
                yield name, f"allows {', '.join(actions) or 'all but a few actions'}"
            everywhere = any(text(item) == "*" for item in as_list(statement.get("Resource", "*")))
            if everywhere and not set(actions) <= STAR_RESOURCES:
                yield name, f"allows {', '.join(actions)} on every resource"


def nobody_else_may_take_a_role_or_use_a_policy(template: Template) -> Wrong:
    """Trust and resource policies name services, never everyone."""
    for name, role in of_type(template, "IAM::Role").items():
        if any(reading.everyone(item) for item in reading.of(role, "AssumeRolePolicyDocument")):
            yield name, "can be taken by everyone"
    for kind in ("SQS::QueuePolicy", "S3::BucketPolicy", "SNS::TopicPolicy"):
        for name, policy in of_type(template, kind).items():
            if any(reading.everyone(item) for item in reading.of(policy)):
                yield name, "allows everyone"


def only_this_system_may_invoke(template: Template) -> Wrong:
    """A permission without a source lets every account's API call the function."""
    for name, permission in of_type(template, "Lambda::Permission").items():
        if not permission.get("SourceArn"):
            yield name, "names no SourceArn"


def nothing_carries_a_secret_in_the_clear(template: Template) -> Wrong:
    """Environment variables are shown to everyone who may look at the console."""
    for name, function in of_type(template, "Lambda::Function").items():
        for key, value in ((function.get("Environment") or {}).get("Variables") or {}).items():
            if SECRET.search(key) and isinstance(value, str):
                yield name, f"has {key} in its environment"
    for name, job in of_type(template, "Batch::JobDefinition").items():
        for item in [item for container in containers(job) for item in container.get("Environment") or []]:
            if SECRET.search(item["Name"]) and isinstance(item["Value"], str):
                yield name, f"has {item['Name']} in its environment"


def nothing_is_reachable_from_everywhere(template: Template) -> Wrong:
    """No inbound rule for the whole internet."""
    for name, group in of_type(template, "EC2::SecurityGroup").items():
        for rule in as_list(group.get("SecurityGroupIngress")):
            if rule.get("CidrIp") == "0.0.0.0/0" or rule.get("CidrIpv6") == "::/0":
                yield name, "lets everyone in"
