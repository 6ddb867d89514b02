"""Nothing is lost on its way: queues, dead letters, event targets, and who may send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tidemill.cloud.expand import Template
from tidemill.cloud.rules import reading
from tidemill.cloud.rules.reading import as_list, mappings, of_type, target, text

Wrong = Iterator[tuple[str, str]]
VISIBILITY_TIMES = 6  # AWS asks for six times the function's timeout before a message shows up again
LEAST_RECEIVES = 5  # fewer, and throttling alone can push a good message into the dead letters


def a_queue_hides_a_message_for_six_timeouts(template: Template) -> Wrong:
    """Otherwise a message comes back while it is still being worked on."""
    for _, _, function, queue in mappings(template):
        hidden = int(of_type(template, "SQS::Queue")[queue].get("VisibilityTimeout", 30))
        timeout = int(of_type(template, "Lambda::Function").get(function, {}).get("Timeout", 3))
        if hidden < VISIBILITY_TIMES * timeout:
            yield queue, f"is hidden for {hidden} s, less than {VISIBILITY_TIMES} times the {timeout} s of {function}"


def a_queue_has_dead_letters_that_last_longer(template: Template) -> Wrong:
    """Otherwise poison is lost, or loops; a dead letter keeps the age it had."""
    queues = of_type(template, "SQS::Queue")
    for queue in dict.fromkeys(queue for *_, queue in mappings(template)):
        redrive = queues[queue].get("RedrivePolicy") or {}
        dead = target(redrive.get("deadLetterTargetArn"))
        if dead not in queues:
            yield queue, "has no dead-letter queue"
            continue
        if int(redrive.get("maxReceiveCount", 0)) < LEAST_RECEIVES:
            yield queue, f"gives up after {redrive.get('maxReceiveCount')} receives, fewer than {LEAST_RECEIVES}"
        kept, dead_kept = (int(queues[name].get("MessageRetentionPeriod", 345_600)) for name in (queue, dead))
        if dead_kept <= kept:
            yield dead, f"keeps messages {dead_kept} s, not longer than the {kept} s of {queue}"


def a_mapping_is_bounded_and_reports_single_failures(template: Template) -> Wrong:
    """Otherwise one poisoned message repeats its whole batch, or one burst takes the account's concurrency."""
    for name, mapping, _, _ in mappings(template):
        if not (mapping.get("ScalingConfig") or {}).get("MaximumConcurrency"):
            yield name, "has no ScalingConfig.MaximumConcurrency"
        if "ReportBatchItemFailures" not in as_list(mapping.get("FunctionResponseTypes")):
            yield name, "does not report batch item failures"


def an_event_target_retries_and_has_dead_letters(template: Template) -> Wrong:
    """Otherwise an event that cannot be delivered is gone."""
    for name, rule in of_type(template, "Events::Rule").items():
        for item in as_list(rule.get("Targets")):
            for need in ("RetryPolicy", "DeadLetterConfig"):
                if not item.get(need):
                    yield name, f"target {item.get('Id')} has no {need}"


def who_sends_to_a_queue_may(template: Template) -> Wrong:
    """S3 and EventBridge need the queue's own permission, limited to this bucket or rule; without it, silence."""
    for source, service, queue, arns in _senders(template):
        granted = [item for policy in _policies(template, queue) for item in reading.of(policy)]
        fitting = [item for item in granted if reading.sends(item, service, queue)]
        if not fitting:
            yield queue, f"does not let {service} send for {source}"
        elif not any(reading.sources(item) & arns for item in fitting):
            yield queue, f"lets {service} send, but not for {source}"


def _senders(template: Template) -> Iterator[tuple[str, str, str, set[str]]]:
    """Who sends to which queue: the source, its service, the queue, the source's possible ARNs."""
    queues = of_type(template, "SQS::Queue")
    for name, bucket in of_type(template, "S3::Bucket").items():
        arns = {f"${{{name}.Arn}}", f"arn:${{AWS::Partition}}:s3:::{text(bucket.get('BucketName'))}"}
        for item in (bucket.get("NotificationConfiguration") or {}).get("QueueConfigurations") or []:
            yield name, "s3.amazonaws.com", target(item.get("Queue")), arns
    for name, rule in of_type(template, "Events::Rule").items():
        for item in as_list(rule.get("Targets")):
            for arn in (item.get("Arn"), (item.get("DeadLetterConfig") or {}).get("Arn")):
                if target(arn) in queues:
                    yield name, "events.amazonaws.com", target(arn), {f"${{{name}.Arn}}"}


def _policies(template: Template, queue: str) -> list[dict[str, Any]]:
    policies = of_type(template, "SQS::QueuePolicy").values()
    return [item for item in policies if queue in map(target, as_list(item.get("Queues")))]


def a_function_never_writes_where_it_listens(template: Template) -> Wrong:
    """Otherwise it wakes itself, for ever."""
    for bucket, prefix, function in _listeners(template):
        role = target(of_type(template, "Lambda::Function").get(function, {}).get("Role"))
        for written in reading.written(of_type(template, "IAM::Role").get(role, {}), f"${{{bucket}.Arn}}/"):
            if written.startswith(prefix) or prefix.startswith(written):
                yield function, f"writes {bucket}/{written} and is woken by {bucket}/{prefix}"


def _listeners(template: Template) -> Iterator[tuple[str, str, str]]:
    """Which prefix of which bucket wakes which function, through a queue or directly."""
    readers = {queue: function for _, _, function, queue in mappings(template)}
    for bucket, properties in of_type(template, "S3::Bucket").items():
        notices = properties.get("NotificationConfiguration") or {}
        found = [
            (readers.get(target(item.get("Queue")), ""), item) for item in notices.get("QueueConfigurations") or []
        ]
        found += [(target(item.get("Function")), item) for item in notices.get("LambdaConfigurations") or []]
        for function, item in found:
            rules = ((item.get("Filter") or {}).get("S3Key") or {}).get("Rules") or []
            prefixes = [rule["Value"] for rule in rules if rule["Name"].lower() == "prefix"]
            yield bucket, (prefixes or [""])[0], function
