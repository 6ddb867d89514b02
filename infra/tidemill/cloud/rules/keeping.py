"""What is kept is kept safely: buckets, tables, queues, logs; and what runs, runs within bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tidemill.cloud.expand import Template
from tidemill.cloud.rules import reading
from tidemill.cloud.rules.reading import containers, of_type, target, true

Wrong = Iterator[tuple[str, str]]
GATEWAY_S = 30  # an HTTP API gives up after 30 s, whatever the function does


def a_queue_is_encrypted(template: Template) -> Wrong:
    """With SQS's own key at least."""
    for name, queue in of_type(template, "SQS::Queue").items():
        if not (true(queue.get("SqsManagedSseEnabled")) or queue.get("KmsMasterKeyId")):
            yield name, "is not encrypted"


def a_bucket_is_closed_encrypted_and_versioned(template: Template) -> Wrong:
    """Otherwise data leaks, or one wrong write destroys it."""
    for name, bucket in of_type(template, "S3::Bucket").items():
        block = bucket.get("PublicAccessBlockConfiguration") or {}
        wanted = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        if not all(true(block.get(key)) for key in wanted):
            yield name, "does not block all public access"
        if not (bucket.get("BucketEncryption") or {}).get("ServerSideEncryptionConfiguration"):
            yield name, "is not encrypted"
        if (bucket.get("VersioningConfiguration") or {}).get("Status") != "Enabled":
            yield name, "is not versioned"


def a_bucket_speaks_tls_only(template: Template) -> Wrong:
    """Otherwise a client may send data in the clear."""
    policies = of_type(template, "S3::BucketPolicy").values()
    closed = {target(item.get("Bucket")) for item in policies if any(map(_refuses_plain, reading.of(item)))}
    yield from (
        (name, "accepts requests without TLS") for name in of_type(template, "S3::Bucket") if name not in closed
    )


def _refuses_plain(statement: dict[str, Any]) -> bool:
    plain = (statement.get("Condition") or {}).get("Bool") or {}
    return statement.get("Effect") == "Deny" and str(plain.get("aws:SecureTransport")).lower() == "false"


def state_outlives_the_stack(template: Template) -> Wrong:
    """Otherwise deleting a stack deletes what people uploaded."""
    for name, resource in template["Resources"].items():
        if resource["Type"] in ("AWS::S3::Bucket", "AWS::DynamoDB::Table"):
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                if resource.get(policy) not in ("Retain", "RetainExceptOnCreate"):
                    yield name, f"has no {policy}: Retain"
    for name, table in of_type(template, "DynamoDB::Table").items():
        if not true((table.get("PointInTimeRecoverySpecification") or {}).get("PointInTimeRecoveryEnabled")):
            yield name, "has no point-in-time recovery"


def a_function_logs_where_logs_end(template: Template) -> Wrong:
    """Otherwise logs are kept, and paid for, for ever."""
    groups = of_type(template, "Logs::LogGroup")
    for name, group in groups.items():
        if not group.get("RetentionInDays"):
            yield name, "has no retention"
    for name, function in of_type(template, "Lambda::Function").items():
        if target((function.get("LoggingConfig") or {}).get("LogGroup")) not in groups:
            yield name, "logs to no group of this template"


def a_function_runs_on_a_runtime_that_loads_the_wheels(template: Template) -> Wrong:
    """Python 3.11 on Lambda is Amazon Linux 2, whose glibc is too old for NumPy and ONNX Runtime."""
    for name, function in of_type(template, "Lambda::Function").items():
        version = re.fullmatch(r"python3\.(\d+)", str(function.get("Runtime")))
        if not version or int(version[1]) < 12:
            yield name, f"runs on {function.get('Runtime')}"


def an_api_function_answers_before_the_gateway_gives_up(template: Template) -> Wrong:
    """Otherwise a caller gets a 503 for work that goes on."""
    functions = of_type(template, "Lambda::Function")
    for name, integration in of_type(template, "ApiGatewayV2::Integration").items():
        function = target(integration.get("IntegrationUri"))
        patience = int(integration.get("TimeoutInMillis", GATEWAY_S * 1000)) / 1000
        timeout = int(functions.get(function, {}).get("Timeout", 3))
        if timeout >= min(patience, GATEWAY_S):
            yield function or name, f"may take {timeout} s, the gateway waits {patience:g} s"


def an_api_is_throttled_and_logged(template: Template) -> Wrong:
    """Otherwise one client can spend the account's concurrency, unseen."""
    for name, stage in of_type(template, "ApiGatewayV2::Stage").items():
        settings = stage.get("DefaultRouteSettings") or {}
        if not (settings.get("ThrottlingRateLimit") and settings.get("ThrottlingBurstLimit")):
            yield name, "has no throttling"
        if not (stage.get("AccessLogSettings") or {}).get("DestinationArn"):
            yield name, "has no access log"


def a_job_is_confined_and_ends(template: Template) -> Wrong:
    """A training job runs strangers' data: no privileges, no root, no endless run."""
    for name, job in of_type(template, "Batch::JobDefinition").items():
        for container in containers(job):
            if true(container.get("Privileged")):
                yield name, "is privileged"
            if str(container.get("User", "0")) in ("0", "root"):
                yield name, "runs as root"
            if not true(container.get("ReadonlyRootFilesystem")):
                yield name, "may write its own file system"
        if not (job.get("Timeout") or {}).get("AttemptDurationSeconds"):
            yield name, "has no time limit"
