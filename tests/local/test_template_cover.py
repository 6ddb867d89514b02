"""What the local stack does not check about template.yaml and AWS does: held here, for both stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidemill.local.server import API_CALLS, FUNCTIONS
from tidemill.local.template import read_template

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = read_template(ROOT / "template.yaml")
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type."""
    return {name: body.get("Properties", {}) for name, body in RESOURCES.items() if body["Type"] == kind}


def in_stage(value: Any, stage: str) -> Any:
    """A number written plainly, by Fn::FindInMap or by Fn::If on the stage."""
    if isinstance(value, dict) and "Fn::FindInMap" in value:
        table, _, name = value["Fn::FindInMap"]
        return TEMPLATE["Mappings"][table][stage][name]
    if isinstance(value, dict) and "Fn::If" in value:
        return in_stage(value["Fn::If"][1 if stage == "aws" else 2], stage)
    return value


def mappings() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Function -> (its properties, the properties of its SQS event)."""
    return {
        name: (function, event["Properties"])
        for name, function in of_type("AWS::Serverless::Function").items()
        for event in function.get("Events", {}).values()
        if event["Type"] == "SQS"
    }


@pytest.mark.parametrize("stage", ["aws", "local"])
def test_a_message_is_hidden_for_six_times_the_time_its_function_may_take(stage: str) -> None:
    for name, (function, event) in mappings().items():
        queue = RESOURCES[event["Queue"]["Fn::GetAtt"][0]]["Properties"]
        hidden, timeout = in_stage(queue["VisibilityTimeout"], stage), in_stage(function["Timeout"], stage)
        assert hidden >= 6 * timeout, f"{name}: {hidden} s hidden, {timeout} s at work"


def test_every_queue_that_wakes_a_function_has_dead_letters() -> None:
    for _, event in mappings().values():
        queue = RESOURCES[event["Queue"]["Fn::GetAtt"][0]]["Properties"]
        assert queue["RedrivePolicy"]["maxReceiveCount"] >= 3
        assert event["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_on_the_laptop_no_queue_message_ever_meets_a_full_house() -> None:
    """A throttled message waits out its visibility and counts as received, here as on AWS without a bound."""
    queued = sum(in_stage(event["ScalingConfig"]["MaximumConcurrency"], "local") for _, event in mappings().values())
    assert queued + API_CALLS <= FUNCTIONS


def test_queues_are_open_to_the_services_that_feed_them() -> None:
    """The local stack delivers without asking; AWS drops what the queue's policy does not allow."""
    allowed = {
        (queue["Ref"], statement["Principal"]["Service"])
        for policy in of_type("AWS::SQS::QueuePolicy").values()
        for queue in policy["Queues"]
        for statement in policy["PolicyDocument"]["Statement"]
    }
    for rule in of_type("AWS::Events::Rule").values():
        for target in rule["Targets"]:
            assert (target["Arn"]["Fn::GetAtt"][0], "events.amazonaws.com") in allowed
            assert (target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0], "events.amazonaws.com") in allowed
    for bucket in of_type("AWS::S3::Bucket").values():
        for wiring in bucket.get("NotificationConfiguration", {}).get("QueueConfigurations", []):
            assert (wiring["Queue"]["Fn::GetAtt"][0], "s3.amazonaws.com") in allowed


def test_the_api_may_call_its_functions() -> None:
    called = {body["IntegrationUri"]["Fn::GetAtt"][0] for body in of_type("AWS::ApiGatewayV2::Integration").values()}
    permissions = of_type("AWS::Lambda::Permission").values()
    allowed = {body["FunctionName"]["Ref"] for body in permissions if body["Principal"] == "apigateway.amazonaws.com"}
    assert called <= allowed


def test_the_api_is_throttled_on_aws() -> None:
    for stage in of_type("AWS::ApiGatewayV2::Stage").values():
        assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] > 0
        assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] > 0


def test_the_api_gives_up_after_the_function_did() -> None:
    for body in of_type("AWS::ApiGatewayV2::Integration").values():
        function = RESOURCES[body["IntegrationUri"]["Fn::GetAtt"][0]]["Properties"]
        assert function["Timeout"] * 1000 < body["TimeoutInMillis"] <= 30_000


# Prefixes that a role reads and need not list: what is read there is known to exist, or only ever written.
# Of a file in the inbox that is denied, Predict says that it is not there.
READ_WITHOUT_LISTING = {("PredictRole", "bundles/*"), ("PredictRole", "inbox/*"), ("PreprocessRole", "rejections/*")}


def test_a_role_that_may_read_may_also_see_that_something_is_missing() -> None:
    """Without s3:ListBucket S3 answers 403 for a missing object, and nothing can be told from that."""
    for name, role in of_type("AWS::IAM::Role").items():
        statements = [part for policy in role.get("Policies", []) for part in policy["PolicyDocument"]["Statement"]]
        listed = {
            prefix
            for part in statements
            if "s3:ListBucket" in as_list(part["Action"])
            for prefix in as_list(part["Condition"]["StringLike"]["s3:prefix"])
        }
        read = {
            resource["Fn::Sub"].partition("/")[2]
            for part in statements
            if "s3:GetObject" in as_list(part["Action"])
            for resource in as_list(part["Resource"])
        }
        unseen = {(name, prefix) for prefix in read - listed} - READ_WITHOUT_LISTING
        assert not unseen, f"{unseen} may be read, but whether something is there cannot be seen"


def as_list(value: Any) -> list[Any]:
    """IAM lets one thing stand without its list."""
    return value if isinstance(value, list) else [value]


def test_nothing_of_ours_uses_what_the_local_stack_does_differently() -> None:
    for folder in ("functions", "layers", "infra/tidemill/cli"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            for call in ("copy_object", "start_message_move_task", "VersionId="):
                assert call not in text, f"{path.relative_to(ROOT)} uses {call}"
