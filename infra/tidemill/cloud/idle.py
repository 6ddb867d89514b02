"""What the stack costs in a month in which nobody uses it: counted from the template, with its assumptions.

Lambda asks a queue for work whether there is any or not, schedules wake functions that find nothing to do, alarms are
paid by the metric, and the image of the job lies in its registry. Free tiers are not taken off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.cloud.expand import ROOT, expand, read, settle
from tidemill.core.prices import HOUR_S, Prices

MONTH_S = 730 * HOUR_S
POLLERS, POLL_S = 5, 20.0  # of an event source: Lambda's long polls of a queue without messages
IDLE_WAKE_S, IDLE_READS = 0.5, 20  # of a scheduled function that finds nothing: its time, its reads of the table
IMAGE_GB = 4.0  # the training image, compressed
NESTED = ("infra/alarms.yaml", "infra/batch.yaml", "infra/network.yaml")
# What nobody pays for while nothing happens. A resource that is neither here nor counted below fails a test.
FREE = frozenset(
    {
        *(
            "AWS::S3::Bucket",
            "AWS::S3::BucketPolicy",
            "AWS::DynamoDB::Table",
            "AWS::Events::EventBus",
            "AWS::SQS::Queue",
        ),
        *(
            "AWS::Events::Rule",
            "AWS::SQS::QueuePolicy",
            "AWS::Logs::LogGroup",
            "AWS::IAM::Role",
            "AWS::Lambda::Function",
        ),
        *("AWS::Lambda::LayerVersion", "AWS::Lambda::Permission", "AWS::CloudFormation::Stack", "AWS::SNS::Topic"),
        *(
            "AWS::ApiGatewayV2::Api",
            "AWS::ApiGatewayV2::Integration",
            "AWS::ApiGatewayV2::Route",
            "AWS::ApiGatewayV2::Authorizer",
        ),
        *("AWS::ApiGatewayV2::Stage", "AWS::SNS::Subscription", "AWS::SNS::TopicPolicy", "AWS::IAM::InstanceProfile"),
        *("AWS::EC2::LaunchTemplate", "AWS::EC2::VPC", "AWS::EC2::InternetGateway", "AWS::EC2::VPCGatewayAttachment"),
        *("AWS::EC2::Subnet", "AWS::EC2::RouteTable", "AWS::EC2::Route", "AWS::EC2::SubnetRouteTableAssociation"),
        *("AWS::EC2::SecurityGroup", "AWS::Batch::JobQueue", "AWS::Batch::JobDefinition"),
        *("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::PlacementGroup"),
        *("AWS::Scheduler::ScheduleGroup", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"),
    }
)


@dataclass(frozen=True)
class Line:
    """One line of the bill."""

    what: str
    count: int
    usd: float
    why: str


def bill(prices: Prices, root: Path = ROOT) -> list[Line]:
    """The lines of an idle month; the template's own schedules and queues, no model's."""
    whole = settle(expand(root / "template.yaml"), Stage="aws")
    resources = dict(whole["Resources"])
    for name in NESTED:
        resources.update({f"{name}/{key}": item for key, item in read(root / name)["Resources"].items()})
    return [
        _queues(resources, prices),
        _schedules(resources, prices),
        _alarms(resources, prices),
        Line("training image", 1, prices.of("ecr.gb_month") * IMAGE_GB, f"{IMAGE_GB:g} GB in the container registry"),
    ]


def unknown(root: Path = ROOT) -> set[str]:
    """Types of resources of which nothing is known: they may cost while idle."""
    found = {item["Type"] for item in expand(root / "template.yaml")["Resources"].values()}
    for name in NESTED:
        found |= {kind for item in read(root / name)["Resources"].values() if _may_cost(kind := item["Type"], item)}
    return {kind for kind in found if kind not in FREE | COUNTED and not kind.startswith("AWS::Serverless::")}


COUNTED = frozenset(
    {"AWS::Lambda::EventSourceMapping", "AWS::Scheduler::Schedule", "AWS::CloudWatch::Alarm"}
    | {"AWS::EC2::VPCEndpoint", "AWS::Batch::ComputeEnvironment"}
)


def _may_cost(kind: str, item: dict[str, Any]) -> bool:
    properties = item.get("Properties", {})
    if kind == "AWS::EC2::VPCEndpoint":
        return bool(properties.get("VpcEndpointType") != "Gateway")  # an interface is paid by the hour
    if kind == "AWS::Batch::ComputeEnvironment":
        return bool(properties["ComputeResources"].get("MinvCpus") != 0)
    return True


def _of(resources: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item.get("Properties", {}) for item in resources.values() if item["Type"] == kind]


def _queues(resources: dict[str, Any], prices: Prices) -> Line:
    count = len(_of(resources, "AWS::Lambda::EventSourceMapping"))
    polls = count * POLLERS * MONTH_S / POLL_S
    usd = polls / 1e6 * prices.of("sqs.million_requests")
    return Line("empty queues asked for work", count, usd, f"{POLLERS} pollers a queue, each every {POLL_S:g} s")


def _schedules(resources: dict[str, Any], prices: Prices) -> Line:
    known = [*_of(resources, "AWS::Scheduler::Schedule"), *_of(resources, "AWS::Events::Rule")]
    found = [item for item in known if item.get("ScheduleExpression") and item.get("State") != "DISABLED"]
    calls = sum(MONTH_S / rate_s(str(item.get("ScheduleExpression", ""))) for item in found)
    usd = calls / 1e6 * prices.of("scheduler.million_invocations")
    usd += prices.function(calls * IDLE_WAKE_S, 512, int(calls))
    usd += calls * IDLE_READS / 1e6 * prices.of("dynamodb.million_reads")
    why = f"{calls:,.0f} calls a month of {IDLE_WAKE_S:g} s at 512 MB, {IDLE_READS} reads each"
    return Line("schedules that find nothing to do", len(found), usd, why)


def rate_s(expression: str) -> float:
    """Seconds between two calls of a rate(...); a cron(...) is taken as once an hour."""
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    return int(found[1]) * {"minute": 60.0, "hour": HOUR_S, "day": 24 * HOUR_S}[found[2]] if found else HOUR_S


def _alarms(resources: dict[str, Any], prices: Prices) -> Line:
    alarms = _of(resources, "AWS::CloudWatch::Alarm")
    metrics = sum(len([part for part in item.get("Metrics", [{}]) if "Expression" not in part]) for item in alarms)
    usd = metrics * prices.of("cloudwatch.alarm_metric_month")
    return Line("alarms", len(alarms), usd, f"{metrics} metrics")
