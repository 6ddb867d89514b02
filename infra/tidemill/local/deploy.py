"""Deploy the template to the local stack by CloudFormation, as `sam deploy` does on AWS."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tidemill.core.progress import Progress, Report, silent
from tidemill.local.adopt import IDENTIFIERS, adopt
from tidemill.local.clients import admin_client
from tidemill.local.definitions import Catalogue, pseudo_parameters, read_catalogue
from tidemill.local.errors import BadTemplate, DeployFailed
from tidemill.local.package import Package, package
from tidemill.local.state import Secrets
from tidemill.local.template import read_template, resolve

STACK = "tidemill"
TIMEOUT_S = 120.0
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
READY = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"}
USABLE = READY | {"UPDATE_ROLLBACK_COMPLETE"}
_BROKEN = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS"}


@dataclass(frozen=True)
class Plan:
    """What is to be deployed: the packaged template, its zips, its parameters, and a digest of all three."""

    template: dict[str, Any]
    packages: tuple[Package, ...]
    parameters: Mapping[str, str]
    bucket: str
    digest: str

    @property
    def key(self) -> str:
        """Where the template lies in the bucket: CloudFormation takes larger ones from there than in a call."""
        return f"template-{self.digest[:24]}.json"


def plan(root: Path, secrets: Secrets, parameters: Mapping[str, str] | None = None) -> Plan:
    """Package the template of a repository; the same sources give the same digest."""
    bucket = f"tidemill-deploy-{secrets.account}"
    template, packages = package(read_template(root / "template.yaml"), root, bucket)
    declared = template.get("Parameters", {})
    given = {"Stage": "local", **(parameters or {})}
    used = {name: value for name, value in given.items() if name in declared}
    nested = [path.read_text() for path in sorted((root / "infra").glob("*.yaml"))]
    text = json.dumps([template, used, nested], sort_keys=True, default=str)
    return Plan(template, tuple(packages), used, bucket, hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True)
class Deployed:
    """The stack after a deployment."""

    outputs: dict[str, str]
    resources: dict[str, str]


def deploy(
    endpoint: str,
    secrets: Secrets,
    wanted: Plan,
    *,
    name: str = STACK,
    known: Mapping[str, str] | None = None,
    report: Report = silent,
) -> Deployed:
    """Create or update the stack and wait; raises DeployFailed naming the first resource that failed and why.

    `known` holds the physical ids of an earlier stack: buckets and tables that still exist keep their content.
    """
    report(Progress("deploy", 0, 3, f"Uploading {len(wanted.packages)} packages"))
    s3 = admin_client("s3", endpoint, secrets)
    _upload(s3, wanted)
    cloudformation = admin_client("cloudformation", endpoint, secrets)
    status, left = _without_wreck(cloudformation, name, report)
    if status is None:
        dynamodb = admin_client("dynamodb", endpoint, secrets)
        names = {**_given_names(wanted, secrets, name), **(known or {}), **left}
        taken = adopt(cloudformation, s3, dynamodb, wanted.template, name, names)
        status = "IMPORT_COMPLETE" if taken else None
    report(Progress("deploy", 1, 3, "Creating the stack" if status is None else "Updating the stack"))
    since = datetime.now(UTC)
    started = _start(cloudformation, name, wanted, update=status is not None)
    final = _wait(cloudformation, name, report)
    if started and final not in READY:
        raise _failure(cloudformation, name, final, since)
    report(Progress("deploy", 3, 3, "Deployed"))
    return describe(endpoint, secrets, name)


def _without_wreck(cloudformation: Any, name: str, report: Report) -> tuple[str | None, dict[str, str]]:
    """The status of the stack once a first deployment that failed is cleared away, and what that one had made."""
    status = stack_status(cloudformation, name)
    if status not in _BROKEN:
        return status, {}
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    left = {
        event["LogicalResourceId"]: event["PhysicalResourceId"] for event in events if event.get("PhysicalResourceId")
    }
    cloudformation.delete_stack(StackName=name)
    _wait(cloudformation, name, report)
    return None, left


def _given_names(wanted: Plan, secrets: Secrets, name: str) -> dict[str, str]:
    """The names that the template itself gives to buckets and tables."""
    known = {**pseudo_parameters(secrets.account, name), **wanted.parameters}
    names = {}
    for logical, resource in wanted.template["Resources"].items():
        if identifier := IDENTIFIERS.get(resource["Type"]):
            with contextlib.suppress(BadTemplate):
                names[logical] = str(resolve(resource.get("Properties", {}).get(identifier, ""), known))
    return names


def describe(endpoint: str, secrets: Secrets, name: str = STACK) -> Deployed:
    """The outputs and the physical ids of a deployed stack."""
    cloudformation = admin_client("cloudformation", endpoint, secrets)
    stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    resources = [item for page in pages for item in page["StackResourceSummaries"]]
    return Deployed(
        {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])},
        {item["LogicalResourceId"]: item.get("PhysicalResourceId", "") for item in resources},
    )


def catalogue(root: Path, endpoint: str, secrets: Secrets, wanted: Plan, deployed: Deployed, name: str) -> Catalogue:
    """What local Batch offers for this deployment."""
    known: dict[str, Any] = {**pseudo_parameters(secrets.account, name), **deployed.outputs, **deployed.resources}
    iam = admin_client("iam", endpoint, secrets)
    for logical, resource in wanted.template["Resources"].items():
        physical = deployed.resources.get(logical)
        if physical and resource["Type"] == "AWS::IAM::Role":
            known[f"{logical}.Arn"] = iam.get_role(RoleName=physical)["Role"]["Arn"]
        elif physical and resource["Type"] == "AWS::S3::Bucket":
            known[f"{logical}.Arn"] = f"arn:aws:s3:::{physical}"
    return read_catalogue(root, known, wanted.parameters)


def stack_status(cloudformation: Any, name: str) -> str | None:
    """The status of a stack, None where it does not exist."""
    try:
        status: str = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if status == "DELETE_COMPLETE" else status


def _upload(s3: Any, wanted: Plan) -> None:
    """Put what is not there yet: a key names its content."""
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=wanted.bucket)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=wanted.bucket)
    there = {item["Key"] for page in pages for item in page.get("Contents", [])}
    for item in wanted.packages:
        if item.key not in there:
            s3.put_object(Bucket=wanted.bucket, Key=item.key, Body=item.body)
    s3.put_object(Bucket=wanted.bucket, Key=wanted.key, Body=json.dumps(wanted.template, default=str).encode())


def _start(cloudformation: Any, name: str, wanted: Plan, *, update: bool) -> bool:
    """Whether there was anything to do."""
    call = cloudformation.update_stack if update else cloudformation.create_stack
    parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in wanted.parameters.items()]
    try:
        call(
            StackName=name,
            TemplateURL=f"{cloudformation.meta.endpoint_url}/{wanted.bucket}/{wanted.key}",
            Parameters=parameters,
            Capabilities=CAPABILITIES,
        )
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            return False
        raise DeployFailed(f"CloudFormation refused the template: {error}", remedy="Correct template.yaml.") from error
    return True


def _wait(cloudformation: Any, name: str, report: Report) -> str:
    """The status the stack settles in."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        status = stack_status(cloudformation, name)
        if status is None or not status.endswith("_IN_PROGRESS"):
            return status or "DELETE_COMPLETE"
        report(Progress("deploy", 2, 3, status))
        time.sleep(0.2)
    raise DeployFailed(
        f"The stack was not ready after {TIMEOUT_S:.0f} s.", remedy="See logs/server.log in the state folder."
    )


def _failure(cloudformation: Any, name: str, status: str, since: datetime) -> DeployFailed:
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED") and event["Timestamp"] >= since]
    first = failed[-1] if failed else {"LogicalResourceId": name, "ResourceStatusReason": status}
    reason = first.get("ResourceStatusReason", "no reason given")
    if "DescribeEvents" in reason:
        details = cloudformation.describe_events(StackName=name)["OperationEvents"]
        reason = "; ".join(item["ValidationStatusReason"] for item in details if item.get("ValidationStatusReason"))
    return DeployFailed(
        f"{first['LogicalResourceId']} failed: {reason} ({status})",
        remedy="Correct that resource in template.yaml.",
        resource=first["LogicalResourceId"],
    )
