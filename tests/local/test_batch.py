"""Local Batch through boto3, as the product calls it: identity, policies, logs, events, the job's own keys."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tidemill.local.clients import client
from tidemill.local.stack import Stack

pytestmark = pytest.mark.stack
Eventually = Callable[..., Any]
ENDED = ("SUCCEEDED", "FAILED")


def submit(stack: Stack, code: str, **more: Any) -> str:
    """Submit a piece of Python; returns the job's id."""
    overrides = {"command": ["python", "-c", code]}
    call = {"jobName": "test", "jobQueue": "sample", "jobDefinition": "sample", "containerOverrides": overrides}
    return str(stack.client("batch").submit_job(**{**call, **more})["jobId"])


def look(stack: Stack, job: str) -> dict[str, Any]:
    """DescribeJobs of one job."""
    found: dict[str, Any] = stack.client("batch").describe_jobs(jobs=[job])["jobs"][0]
    return found


def test_a_job_runs_with_the_keys_and_rights_of_its_role_alone(sample: Stack, eventually: Eventually) -> None:
    code = (
        "import boto3, os, sys\n"
        "print(boto3.client('sts').get_caller_identity()['Arn'])\n"
        "boto3.client('dynamodb').put_item(TableName=os.environ['TABLE'], Item={'pk': {'S': 'job'}})\n"
        "try: boto3.client('dynamodb').scan(TableName=os.environ['TABLE'])\n"
        "except Exception as error: print(type(error).__name__, error.response['Error']['Code'])\n"
        "import tidemill.core.errors"
    )
    job = submit(sample, code)
    ended = eventually(lambda: (found := look(sample, job))["status"] in ENDED and found)
    assert ended["status"] == "SUCCEEDED", (sample.state / "logs" / "jobs" / f"{job}.log").read_text()
    stream = ended["container"]["logStreamName"]
    call = {"logGroupName": "/aws/batch/job", "logStreamName": stream}
    events = eventually(lambda: sample.client("logs").get_log_events(**call)["events"])
    lines = [event["message"] for event in events]
    assert lines[0].endswith(f"/{job}")
    assert ":assumed-role/tidemill-JobRole" in lines[0]
    assert lines[1] == "ClientError AccessDeniedException"


def test_every_change_of_state_is_an_event_shaped_as_on_aws(sample: Stack, eventually: Eventually) -> None:
    job = submit(sample, "", tags={"run": "r-1"}, parameters={"word": "x"})
    sqs, url = sample.client("sqs"), sample.outputs["JobEventsUrl"]
    seen: list[dict[str, Any]] = []

    def collect() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            seen.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return any(event["detail"]["jobId"] == job and event["detail"]["status"] in ENDED for event in seen)

    assert eventually(collect)
    mine = [event for event in seen if event["detail"]["jobId"] == job]
    assert {event["detail"]["status"] for event in mine} == {
        "SUBMITTED",
        "RUNNABLE",
        "STARTING",
        "RUNNING",
        "SUCCEEDED",
    }
    last = next(event for event in mine if event["detail"]["status"] == "SUCCEEDED")
    assert (last["source"], last["detail-type"]) == ("local.batch", "Batch Job State Change")
    assert last["resources"] == [last["detail"]["jobArn"]]
    detail = last["detail"]
    assert detail["jobQueue"].endswith(":job-queue/sample")
    assert detail["jobDefinition"].endswith(":job-definition/sample:1")
    assert (detail["tags"], detail["parameters"]) == ({"run": "r-1"}, {"word": "x"})
    assert detail["container"]["exitCode"] == 0
    assert not [name for name in detail if name.startswith("_")]


def test_a_function_may_submit_what_its_role_allows(sample: Stack, eventually: Eventually) -> None:
    answer = call_api(sample, "/submit")
    assert eventually(lambda: look(sample, answer["jobId"])["status"] == "SUCCEEDED")


def test_a_role_that_may_not_submit_is_refused(sample: Stack) -> None:
    iam, name = sample.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    batch = client("batch", sample.endpoint, key["AccessKeyId"], key["SecretAccessKey"])
    call = {"jobName": "x", "jobQueue": "sample", "jobDefinition": "sample"}
    with pytest.raises(ClientError, match="not authorized to perform: batch:SubmitJob"):
        batch.submit_job(**call)
    queue = f"arn:aws:batch:us-east-1:{sample.account}:job-queue/sample"
    allow(iam, name, "batch:SubmitJob", queue)
    with pytest.raises(ClientError, match="job-definition/sample"):  # the definition is checked too
        batch.submit_job(**call)
    wrong = client("batch", sample.endpoint, key["AccessKeyId"], "wrong secret")
    with pytest.raises(ClientError, match="signature"):
        wrong.list_jobs(jobQueue="sample")


def allow(iam: Any, user: str, action: str, resource: str) -> None:
    """Give a user one right."""
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=user, PolicyName=action.replace(":", "-"), PolicyDocument=policy)


def test_a_running_job_is_listed_and_can_be_terminated(sample: Stack, eventually: Eventually) -> None:
    batch = sample.client("batch")
    job = submit(sample, "import time; print('on', flush=True); time.sleep(60)", jobName="long")
    assert eventually(lambda: look(sample, job)["status"] == "RUNNING")
    assert [item["jobId"] for item in batch.list_jobs(jobQueue="sample")["jobSummaryList"]] == [job]
    batch.terminate_job(jobId=job, reason="the upload was superseded")
    ended = eventually(lambda: (found := look(sample, job))["status"] in ENDED and found)
    assert (ended["status"], ended["statusReason"]) == ("FAILED", "the upload was superseded")
    assert ended["isTerminated"]
    failed = batch.list_jobs(jobQueue="sample", jobStatus="FAILED")["jobSummaryList"]
    assert job in [item["jobId"] for item in failed]
    named = batch.list_jobs(jobQueue="sample", filters=[{"name": "JOB_NAME", "values": ["lon*"]}])["jobSummaryList"]
    assert job in [item["jobId"] for item in named]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jobQueue": "nowhere"}, "nowhere"),
        ({"jobDefinition": "nothing"}, "nothing"),
        ({"jobName": "has blanks"}, "jobName"),
        ({"timeout": {"attemptDurationSeconds": 5}}, "60"),
        ({"retryStrategy": {"attempts": 11}}, "1 to 10"),
        ({"arrayProperties": {"size": 2}}, "arrayProperties"),
    ],
)
def test_a_wrong_request_is_a_client_exception(sample: Stack, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message) as caught:
        submit(sample, "", **change)
    assert caught.value.response["Error"]["Code"] == "ClientException"


def test_definitions_and_queues_are_described(sample: Stack) -> None:
    batch = sample.client("batch")
    (definition,) = batch.describe_job_definitions()["jobDefinitions"]
    assert definition["retryStrategy"]["attempts"] == 3
    assert definition["containerProperties"]["jobRoleArn"].startswith("arn:aws:iam::")
    assert batch.describe_job_queues()["jobQueues"][0]["jobQueueName"] == "sample"


def test_the_keys_of_a_job_are_for_the_job_alone(sample: Stack, eventually: Eventually) -> None:
    job = submit(sample, "import time; time.sleep(60)")
    assert eventually(lambda: look(sample, job)["status"] == "RUNNING")
    for headers in ({}, {"authorization": "guess"}):
        connection = http.client.HTTPConnection("127.0.0.1", sample.port)
        connection.request("GET", f"/_tidemill/jobs/{job}/credentials", headers=headers)
        assert connection.getresponse().status == 403
        connection.close()
    sample.client("batch").terminate_job(jobId=job, reason="done")


def call_api(stack: Stack, path: str) -> Any:
    """GET a path of the sample's API."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    connection.request("GET", stack.api_url.removeprefix(stack.endpoint) + path)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer
