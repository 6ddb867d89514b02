"""What we rely on the local stack to do as AWS does, and what it is known not to do.

Every gap names the test that covers it elsewhere. A gap that closes fails here too: then the cover can go.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tidemill.local.clients import client
from tidemill.local.stack import Stack

pytestmark = pytest.mark.stack
Eventually = Callable[..., Any]


def name(prefix: str) -> str:
    """A name nobody else uses."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def code_of(call: Callable[[], Any]) -> str:
    """The error code of a call, empty where it succeeded."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


@pytest.fixture(scope="module")
def bucket(sample: Stack) -> str:
    """The sample's data bucket; keys outside uploads/ wake nobody."""
    return str(sample.outputs["DataBucketName"])


@pytest.fixture
def user(sample: Stack) -> Iterator[Callable[..., dict[str, str]]]:
    """Make IAM users with one statement each; returns their keys."""
    iam = sample.client("iam")

    def make(*statements: dict[str, Any]) -> dict[str, str]:
        who = name("user")
        iam.create_user(UserName=who)
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": statements})
            iam.put_user_policy(UserName=who, PolicyName="p", PolicyDocument=document)
        key: dict[str, str] = iam.create_access_key(UserName=who)["AccessKey"]
        return key

    yield make


# ---------------------------------------------------------------------------- what we rely on


def test_rely_each_function_has_the_rights_of_its_role_alone(sample: Stack) -> None:
    assert api(sample, "/denied")[1]["code"] == "AccessDenied"


def test_rely_a_policy_is_scoped_to_prefixes_and_conditions(sample: Stack, bucket: str, user: Any) -> None:
    arn = f"arn:aws:s3:::{bucket}"
    key = user(
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"{arn}/mine/*"},
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": arn,
            "Condition": {"StringLike": {"s3:prefix": "mine/*"}},
        },
    )
    s3 = client("s3", sample.endpoint, key["AccessKeyId"], key["SecretAccessKey"])
    s3.put_object(Bucket=bucket, Key="mine/a", Body=b"")
    assert s3.list_objects_v2(Bucket=bucket, Prefix="mine/")["KeyCount"] == 1
    assert code_of(lambda: s3.put_object(Bucket=bucket, Key="other/a", Body=b"")) == "AccessDenied"
    assert code_of(lambda: s3.get_object(Bucket=bucket, Key="mine/a")) == "AccessDenied"
    assert code_of(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="")) == "AccessDenied"


def test_rely_only_who_may_list_learns_that_an_object_is_missing(sample: Stack, bucket: str, user: Any) -> None:
    """S3 holds the missing key against the s3:prefix of the caller's right to list."""
    arn = f"arn:aws:s3:::{bucket}"
    read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{arn}/*"}
    listing = {"StringLike": {"s3:prefix": "mine/*"}}
    key = user(read, {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": arn, "Condition": listing})
    s3 = client("s3", sample.endpoint, key["AccessKeyId"], key["SecretAccessKey"])
    assert code_of(lambda: s3.get_object(Bucket=bucket, Key="mine/missing")) == "NoSuchKey"
    assert code_of(lambda: s3.get_object(Bucket=bucket, Key="other/missing")) == "AccessDenied"
    assert code_of(lambda: s3.head_object(Bucket=bucket, Key="other/missing")) == "403"
    assert code_of(lambda: sample.client("s3").get_object(Bucket=bucket, Key="other/missing")) == "NoSuchKey"


def test_rely_an_object_is_written_once_with_if_none_match(sample: Stack, bucket: str) -> None:
    s3, key = sample.client("s3"), name("once")
    etag = s3.put_object(Bucket=bucket, Key=key, Body=b"1", IfNoneMatch="*")["ETag"]
    assert code_of(lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"2", IfNoneMatch="*")) == "PreconditionFailed"
    s3.put_object(Bucket=bucket, Key=key, Body=b"3", IfMatch=etag)
    assert code_of(lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"4", IfMatch=etag)) == "PreconditionFailed"
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"3"


def test_rely_ranges_and_versions_of_objects(sample: Stack, bucket: str) -> None:
    s3, key = sample.client("s3"), name("versions")
    first = s3.put_object(Bucket=bucket, Key=key, Body=b"0123456789")["VersionId"]
    s3.put_object(Bucket=bucket, Key=key, Body=b"new")
    assert s3.get_object(Bucket=bucket, Key=key, VersionId=first)["Body"].read() == b"0123456789"
    assert s3.get_object(Bucket=bucket, Key=key, Range="bytes=1-1")["Body"].read() == b"e"
    assert code_of(lambda: s3.get_object(Bucket=bucket, Key=key, Range="bytes=99-")) == "InvalidRange"


def test_rely_conditional_writes_of_items(sample: Stack) -> None:
    table, dynamodb, pk = sample.outputs["TableName"], sample.client("dynamodb"), name("item")
    item = {"pk": {"S": pk}, "rev": {"N": "1"}}
    dynamodb.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(pk)")
    again = {"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}
    assert code_of(lambda: dynamodb.put_item(**again)) == "ConditionalCheckFailedException"
    change: dict[str, Any] = {
        "TableName": table,
        "Key": {"pk": {"S": pk}},
        "UpdateExpression": "SET rev = :new",
        "ConditionExpression": "rev = :old",
        "ExpressionAttributeValues": {":old": {"N": "1"}, ":new": {"N": "2"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    dynamodb.update_item(**change)
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException) as caught:
        dynamodb.update_item(**change)
    assert caught.value.response["Item"]["rev"] == {"N": "2"}  # the loser sees who won


def test_rely_a_transaction_happens_whole_or_not_at_all(sample: Stack) -> None:
    table, dynamodb, pk = sample.outputs["TableName"], sample.client("dynamodb"), name("txn")
    put = {"Put": {"TableName": table, "Item": {"pk": {"S": pk}}, "ConditionExpression": "attribute_not_exists(pk)"}}
    other = {"Put": {"TableName": table, "Item": {"pk": {"S": pk + "-other"}}}}
    dynamodb.transact_write_items(TransactItems=[put], ClientRequestToken=pk)
    dynamodb.transact_write_items(TransactItems=[put], ClientRequestToken=pk)  # the same request, answered again
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as caught:
        dynamodb.transact_write_items(TransactItems=[other, put])
    assert [reason["Code"] for reason in caught.value.response["CancellationReasons"]] == [
        "None",
        "ConditionalCheckFailed",
    ]
    assert "Item" not in dynamodb.get_item(TableName=table, Key={"pk": {"S": pk + "-other"}})


def test_rely_an_upload_reaches_its_function_with_a_growing_sequencer(
    sample: Stack, bucket: str, eventually: Eventually
) -> None:
    keys = [f"uploads/{name('m')}/a file+{number}.csv" for number in range(2)]
    for key in keys:
        sample.client("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
    items = eventually(lambda: len(found := _items(sample, keys)) == 2 and found)
    assert items[keys[0]]["sequencer"]["S"] < items[keys[1]]["sequencer"]["S"]


def _items(sample: Stack, keys: list[str]) -> dict[str, Any]:
    table, dynamodb = sample.outputs["TableName"], sample.client("dynamodb")
    found = {key: dynamodb.get_item(TableName=table, Key={"pk": {"S": key}}).get("Item") for key in keys}
    return {key: item for key, item in found.items() if item}


def test_rely_one_bad_message_of_a_batch_goes_to_the_dead_letters_alone(
    sample: Stack, bucket: str, eventually: Eventually
) -> None:
    sqs, url = sample.client("sqs"), sample.outputs["DeadLettersUrl"]
    bad, good = f"uploads/{name('m')}/poison", f"uploads/{name('m')}/good"
    for key in (bad, good):
        sample.client("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
    assert eventually(lambda: _items(sample, [good]))

    def dead() -> bool:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return any(bad in message["Body"] for message in messages)

    assert eventually(dead)
    assert not _items(sample, [bad])


def test_rely_events_reach_queues_and_aws_sources_are_reserved(sample: Stack, eventually: Eventually) -> None:
    events, sqs, url = sample.client("events"), sample.client("sqs"), sample.outputs["JobEventsUrl"]
    queue = f"arn:aws:batch:us-east-1:{sample.account}:job-queue/sample"
    job = name("job")
    detail = json.dumps({"jobQueue": queue, "jobId": job, "status": "SUCCEEDED"})
    entry = {"Source": "local.batch", "DetailType": "Batch Job State Change", "Detail": detail}
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def arrived() -> bool:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return any(job in message["Body"] for message in messages)

    assert eventually(arrived)
    refused = events.put_events(Entries=[{**entry, "Source": "aws.batch"}])
    assert refused["FailedEntryCount"] == 1


def form(sample: Stack, bucket: str, size: int, key: str, prefix: str, **changes: str) -> int:
    """POST a presigned form for `prefix` and at most 10 bytes; returns the status."""
    signer = boto3.session.Session().client(
        "s3", endpoint_url=sample.endpoint, region_name="us-east-1", aws_access_key_id=sample.secrets.access_key_id,
        aws_secret_access_key=sample.secrets.secret_access_key, config=Config(signature_version="s3v4", proxies={}),
    )  # fmt: skip
    conditions = [["content-length-range", 1, 10], ["starts-with", "$key", prefix]]
    made = signer.generate_presigned_post(bucket, prefix + "${filename}", Conditions=conditions, ExpiresIn=60)
    fields = {**made["fields"], "key": key, **changes}
    border = "border0123456789"
    parts = [
        f'--{border}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{text}\r\n'
        for field, text in fields.items()
    ]
    start = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    file = f"{start}{'x' * size}\r\n--{border}--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", sample.port, timeout=30)
    headers = {"content-type": f"multipart/form-data; boundary={border}"}
    connection.request("POST", f"/{bucket}", body="".join(parts) + file, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_rely_a_presigned_form_holds_size_prefix_and_signature(sample: Stack, bucket: str) -> None:
    assert form(sample, bucket, 10, "form/a/x", "form/a/") == 204
    assert form(sample, bucket, 11, "form/a/x", "form/a/") == 400
    assert form(sample, bucket, 10, "form/b/x", "form/a/") == 403
    assert form(sample, bucket, 10, "form/a/x", "form/a/", **{"x-amz-signature": "0" * 64}) == 403
    root = "test/20260101/us-east-1/s3/aws4_request"
    assert form(sample, bucket, 10, "form/a/x", "form/a/", **{"x-amz-credential": root}) >= 400


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=b", "application/octet-stream"])
def test_rely_a_body_that_is_no_text_arrives_in_base64(sample: Stack, kind: str) -> None:
    content = bytes(range(256))
    status, found = api(sample, "/echo?set=0.9", content, kind)
    assert (status, found["coded"], found["query"]) == (200, True, "set=0.9")
    assert base64.b64decode(found["body"]) == content


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "application/json"])
def test_rely_a_text_arrives_as_it_is(sample: Stack, kind: str) -> None:
    found = api(sample, "/echo", '"很好 😀"'.encode(), kind)[1]
    assert (found["coded"], found["body"]) == (False, '"很好 😀"')


def test_rely_a_function_logs_to_the_group_of_its_template(sample: Stack, bucket: str, eventually: Eventually) -> None:
    key = f"uploads/{name('m')}/logged"
    sample.client("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
    logs = sample.client("logs")
    call = {"logGroupName": "/sample/work", "filterPattern": f'"{key}"'}
    found = eventually(lambda: logs.filter_log_events(**call)["events"])
    assert json.loads(found[0]["message"])["key"] == key


def test_rely_a_queue_may_not_be_fed_without_its_policy(sample: Stack, bucket: str) -> None:
    url = sample.client("sqs").create_queue(QueueName=name("closed"))["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{sample.account}:{url.rpartition('/')[2]}"
    wiring = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3, other = sample.client("s3"), name("bucket")
    s3.create_bucket(Bucket=other)
    put = {"Bucket": other, "NotificationConfiguration": wiring}
    assert code_of(lambda: s3.put_bucket_notification_configuration(**put)) == "InvalidArgument"


# ---------------------------------------------------------------------------- known gaps


def api(sample: Stack, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, Any]:
    """Call the sample's API; returns status and JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", sample.port, timeout=60)
    headers = {"content-type": kind} if kind else {}
    place = sample.api_url.removeprefix(sample.endpoint) + path
    connection.request("POST" if body else "GET", place, body=body, headers=headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found


def test_gap_request_bodies_are_not_limited(sample: Stack) -> None:
    """AWS: 10 MB at the API, 6 MB at the function.

    Covered by tests/serving/test_app_errors.py and test_payloads.py (what comes in), test_door.py (what goes out).
    """
    assert api(sample, "/x", b"x" * (11 << 20))[0] == 200


def test_gap_a_range_of_a_named_version_is_ignored(sample: Stack, bucket: str) -> None:
    """AWS sends the range. Covered by test_template_cover.py: nothing of ours reads old versions."""
    s3, key = sample.client("s3"), name("range")
    version = s3.put_object(Bucket=bucket, Key=key, Body=b"0123")["VersionId"]
    assert s3.get_object(Bucket=bucket, Key=key, VersionId=version, Range="bytes=1-2")["Body"].read() == b"0123"


def test_gap_throttling_of_the_http_api_is_not_enforced(sample: Stack) -> None:
    """The template says 1 call a second. Covered by test_template_cover.py (the setting), test_guard.py (the burst)."""
    assert [api(sample, "/x")[0] for _ in range(6)] == [200] * 6


def test_gap_an_exception_is_shown_to_the_caller(sample: Stack) -> None:
    """AWS hides it behind a bare 500. Covered by tests/serving/test_door.py and test_app_errors.py: none gets out."""
    status, found = api(sample, "/crash")
    assert (status, found["errorMessage"]) == (502, "as asked")


def test_gap_a_visibility_below_the_timeout_is_accepted(sample: Stack) -> None:
    """AWS refuses it (the sample has 1 s below 10 s). Covered by test_template_cover.py."""
    url = sample.outputs["QueueUrl"]
    found = sample.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
    assert found["Attributes"]["VisibilityTimeout"] == "1"


def test_gap_an_event_may_be_anything_and_go_nowhere(sample: Stack) -> None:
    """AWS: MalformedDetail, ResourceNotFoundException. Covered by tests/faults, where every event has its effect."""
    entry = {"Source": "x", "DetailType": "x", "Detail": "no json", "EventBusName": "nowhere"}
    assert sample.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def test_gap_dead_letters_cannot_be_moved_back_by_sqs(sample: Stack) -> None:
    """AWS: StartMessageMoveTask. Covered by test_template_cover.py: nothing of ours calls it."""
    arn = f"arn:aws:sqs:us-east-1:{sample.account}:{sample.outputs['DeadLettersUrl'].rpartition('/')[2]}"
    assert code_of(lambda: sample.client("sqs").start_message_move_task(SourceArn=arn)) in (
        "InvalidAction",
        "AWS.SimpleQueueService.UnsupportedOperation",
    )


def test_gap_rights_to_a_schedule_are_asked_for_in_the_default_group(sample: Stack, user: Any) -> None:
    """AWS names the schedule's own group. Covered by test_expanded_template.py: on AWS only that one is allowed."""
    arn = f"arn:aws:scheduler:us-east-1:{sample.account}:schedule"
    seen = []
    for group in ("default", "own"):
        key = user({"Effect": "Allow", "Action": "scheduler:GetSchedule", "Resource": f"{arn}/{group}/*"})
        scheduler = client("scheduler", sample.endpoint, key["AccessKeyId"], key["SecretAccessKey"])
        seen.append(code_of(lambda asked=scheduler: asked.get_schedule(GroupName="own", Name="none")))
    assert seen[0] == "ResourceNotFoundException" and "AccessDenied" in seen[1]


def test_gap_a_copy_ignores_its_condition(sample: Stack, bucket: str) -> None:
    """AWS refuses the second copy. Covered by test_template_cover.py: nothing of ours copies objects."""
    s3, key = sample.client("s3"), name("copy")
    s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    source = {"Bucket": bucket, "Key": key}
    s3.copy_object(Bucket=bucket, Key=key + "-2", CopySource=source, IfNoneMatch="*")
    assert code_of(lambda: s3.copy_object(Bucket=bucket, Key=key + "-2", CopySource=source, IfNoneMatch="*")) == ""


def test_gap_functions_share_the_interpreter_and_see_the_whole_package(sample: Stack) -> None:
    """AWS gives a function its layers alone. Covered by tests/test_architecture.py."""
    seen = api(sample, "/environment")[1]
    assert seen["_LAMBDA_LAYERS_DIRS"]
    assert seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"  # a number that nothing enforces


def test_gap_temporary_keys_of_a_role_are_a_hash_of_names(sample: Stack) -> None:
    """AWS issues random ones. The random account number in every ARN keeps them from being guessed (state.py)."""
    seen = [api(sample, "/environment")[1]["AWS_ACCESS_KEY_ID"] for _ in range(2)]
    assert seen[0] == seen[1]
    assert len(sample.account) == 12
    assert sample.account != "000000000000"


def test_a_message_that_meets_a_full_house_is_delivered_later(
    sample: Stack, bucket: str, eventually: Eventually
) -> None:
    """More messages than workers: held back by MaximumConcurrency, none is lost or counted as a failure."""
    keys = [f"uploads/{name('burst')}/{number}" for number in range(30)]
    for key in keys:
        sample.client("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
    started = time.monotonic()
    assert eventually(lambda: len(_items(sample, keys)) == len(keys), within_s=40), time.monotonic() - started
