"""After an unclean stop: keep the objects of S3, make everything else anew.

MiniStack writes objects through and the rest only at a clean stop, so after a SIGKILL the tables, queues and stacks
on disk are older than the objects. They are forgotten whole. The buckets that still exist are imported into a new
stack under their old names, as one would on AWS, and the update to the full template does the rest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from tidemill.core.progress import Progress, Report
from tidemill.local.clients import admin_client
from tidemill.local.deploy import CAPABILITIES, Plan
from tidemill.local.errors import DeployFailed
from tidemill.local.state import Folder, Secrets


def forget_services(folder: Folder) -> None:
    """Remove MiniStack's saved state, all but the objects."""
    shutil.rmtree(folder.services, ignore_errors=True)
    folder.create()


def adopt_buckets(
    endpoint: str, secrets: Secrets, wanted: Plan, name: str, resources: Mapping[str, str], report: Report
) -> None:
    """Import the buckets of the lost stack into a new one, objects and names kept."""
    buckets = {
        logical: resources[logical] for logical, resource in wanted.template["Resources"].items()
        if resource["Type"] == "AWS::S3::Bucket" and resources.get(logical)
    }
    if not buckets:
        return
    report(Progress("deploy", 0, 3, f"Adopting {len(buckets)} buckets with their objects"))
    _make_missing(admin_client("s3", endpoint, secrets), list(buckets.values()))
    cloudformation = admin_client("cloudformation", endpoint, secrets)
    template = {"Resources": {logical: {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"} for logical in buckets}}
    cloudformation.create_change_set(
        StackName=name, ChangeSetName="adopt", ChangeSetType="IMPORT", TemplateBody=json.dumps(template),
        Capabilities=CAPABILITIES,
        ResourcesToImport=[
            {"ResourceType": "AWS::S3::Bucket", "LogicalResourceId": logical, "ResourceIdentifier": {"BucketName": bucket}}
            for logical, bucket in buckets.items()
        ],
    )
    cloudformation.get_waiter("change_set_create_complete").wait(
        StackName=name, ChangeSetName="adopt", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    cloudformation.execute_change_set(StackName=name, ChangeSetName="adopt")
    cloudformation.get_waiter("stack_import_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def _make_missing(s3: Any, buckets: list[str]) -> None:
    """A bucket without objects left nothing on disk; give it its name back."""
    for bucket in buckets:
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                raise DeployFailed(f"Bucket {bucket} cannot be adopted: {error}", remedy="Read logs/server.log.") from error
            s3.create_bucket(Bucket=bucket)
