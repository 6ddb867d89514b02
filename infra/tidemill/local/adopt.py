"""Take buckets and tables that outlived their stack into a new one, as a CloudFormation import does on AWS.

They outlive it after an unclean stop (the objects of S3 are on disk, the stack is not) and after a first deployment
that failed (both are kept by their DeletionPolicy). Creating them again would be refused: the names are taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

IDENTIFIERS = {"AWS::S3::Bucket": "BucketName", "AWS::DynamoDB::Table": "TableName"}
_WAIT = {"Delay": 1, "MaxAttempts": 60}


def adopt(
    cloudformation: Any, s3: Any, dynamodb: Any, template: Mapping[str, Any], name: str, known: Mapping[str, str]
) -> list[str]:
    """Create the stack from what exists under the names in `known` (logical to physical); returns what it took."""
    found = {
        logical: resource["Type"]
        for logical, resource in template["Resources"].items()
        if resource["Type"] in IDENTIFIERS
        and known.get(logical)
        and _exists(s3, dynamodb, resource["Type"], known[logical])
    }
    if found:
        _import(cloudformation, template, name, {logical: (kind, known[logical]) for logical, kind in found.items()})
    return sorted(found)


def _exists(s3: Any, dynamodb: Any, kind: str, physical: str) -> bool:
    try:
        if kind == "AWS::S3::Bucket":
            s3.head_bucket(Bucket=physical)
        else:
            dynamodb.describe_table(TableName=physical)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404 or "NotFound" in error.response["Error"]["Code"]:
            return False
        raise
    return True


def _import(cloudformation: Any, template: Mapping[str, Any], name: str, things: Mapping[str, tuple[str, str]]) -> None:
    """A stack of those resources alone; the update to the full template follows."""
    resources = {
        logical: {"Type": kind, "DeletionPolicy": "Retain", "Properties": _bare(template, logical, physical)}
        for logical, (kind, physical) in things.items()
    }
    cloudformation.create_change_set(
        StackName=name,
        ChangeSetName="adopt",
        ChangeSetType="IMPORT",
        TemplateBody=json.dumps({"Resources": resources}),
        ResourcesToImport=[
            {"ResourceType": kind, "LogicalResourceId": logical, "ResourceIdentifier": {IDENTIFIERS[kind]: physical}}
            for logical, (kind, physical) in things.items()
        ],
    )
    cloudformation.get_waiter("change_set_create_complete").wait(
        StackName=name, ChangeSetName="adopt", WaiterConfig=_WAIT
    )
    cloudformation.execute_change_set(StackName=name, ChangeSetName="adopt")
    cloudformation.get_waiter("stack_import_complete").wait(StackName=name, WaiterConfig=_WAIT)


def _bare(template: Mapping[str, Any], logical: str, physical: str) -> dict[str, Any]:
    """As few properties as the type allows: the name where the template sets one, and a table's key."""
    properties = template["Resources"][logical].get("Properties", {})
    kept = {key: properties[key] for key in ("AttributeDefinitions", "KeySchema", "BillingMode") if key in properties}
    for name in IDENTIFIERS.values():
        if name in properties:
            kept[name] = physical
    return kept
