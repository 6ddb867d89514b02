"""S3 and DynamoDB in memory answer as the local stack does: conditions, transactions, paths, lists, errors."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.doubles.memory_aws import MemoryAws

pytestmark = [pytest.mark.fire, pytest.mark.stack, pytest.mark.timeout(300)]
PK, KEY = {"S": "MODEL#m"}, {"pk": {"S": "MODEL#m"}, "sk": {"S": "RUN#1"}}
ITEM = {**KEY, "state": {"S": "RECEIVED"}, "epoch": {"N": "0"}, "times": {"M": {"received": {"S": "t"}}}}
OTHER = {"pk": PK, "sk": {"S": "RUN#2"}}
STATE = {"#state": "state"}


def update(expression: str, condition: str = "", values: Any = None, names: Any = None, key: Any = KEY) -> Any:
    request = {"Key": key, "UpdateExpression": expression, "ReturnValues": "ALL_NEW"}
    request |= {"ConditionExpression": condition} if condition else {}
    request |= {"ExpressionAttributeValues": values} if values else {}
    return "UpdateItem", request | ({"ExpressionAttributeNames": names} if names else {})


def query(prefix: str) -> Any:
    values = {":pk": PK, ":sk": {"S": prefix}}
    return "Query", {"KeyConditionExpression": "pk = :pk AND begins_with(sk, :sk)", "ExpressionAttributeValues": values}


def transact(*writes: Any) -> Any:
    return "TransactWriteItems", {"TransactItems": list(writes)}


def put(item: Any, condition: str = "") -> Any:
    return {"Put": {"Item": item, **({"ConditionExpression": condition} if condition else {})}}


NEW = "attribute_not_exists(pk)"
ONE, S = {"N": "1"}, (lambda text: {"S": text})
CALLS: list[Any] = [
    ("GetItem", {"Key": KEY}),
    ("PutItem", {"Item": ITEM, "ConditionExpression": NEW}),
    ("PutItem", {"Item": ITEM, "ConditionExpression": NEW}),
    update("SET #state = :s", "#state IN (:a, :b)", {":s": S("PREPARED"), ":a": S("X"), ":b": S("RECEIVED")}, STATE),
    update("SET #state = :s", "#state IN (:a, :b)", {":s": S("PREPARED"), ":a": S("X"), ":b": S("RECEIVED")}, STATE),
    update("SET epoch = epoch + :one, times.running = :t", "", {":one": ONE, ":t": S("u")}),
    update("SET other.deep = :t", "", {":t": S("u")}),
    update("SET gone = gone + :one", "", {":one": ONE}),
    update("SET a = if_not_exists(a, :one) + :one", "", {":one": ONE}),
    update("ADD waiting :one", "", {":one": ONE}, key=OTHER),
    update("ADD waiting :one", "", {":one": ONE}, key=OTHER),
    update("SET c = :one", "attribute_exists(nothing) OR epoch < :one", {":one": ONE}),
    update("SET c = :one", "attribute_not_exists(nothing) AND (epoch = :one OR epoch < :one)", {":one": ONE}),
    update("SET d = :one", "nothing < :one", {":one": ONE}),
    update("SET d = :one", "#state < :one", {":one": ONE}, STATE),
    update("SET d = :one REMOVE c, a", "times.running = :t", {":one": ONE, ":t": S("u")}),
    transact(put({"pk": PK, "sk": S("V#1")}, NEW), put({"pk": PK, "sk": S("RUN#1")}, NEW)),
    transact(
        put({"pk": PK, "sk": S("V#1")}, NEW),
        {"ConditionCheck": {"Key": KEY, "ConditionExpression": "attribute_exists(pk)"}},
    ),
    transact(put({"pk": PK, "sk": S("V#1")}, NEW)),
    query("RUN#"),
    query("V"),
    query("Z"),
    ("PutObject", {"Key": "a/1", "Body": b"one", "Metadata": {"why": "x"}}),
    ("PutObject", {"Key": "a/1", "Body": b"two", "IfNoneMatch": "*"}),
    ("PutObject", {"Key": "a/2", "Body": b"three", "IfNoneMatch": "*"}),
    ("GetObject", {"Key": "a/1"}),
    ("GetObject", {"Key": "a/9"}),
    ("HeadObject", {"Key": "a/2"}),
    ("ListObjectsV2", {"Prefix": "a/"}),
    ("ListObjectsV2", {"Prefix": "b/"}),
    ("PutObject", {"Key": "a/1", "Body": b"two"}),
    ("GetObject", {"Key": "a/1"}),
    ("ListObjectVersions", {"Prefix": "a/"}),
    ("DeleteObject", {"Key": "a/2"}),
    ("GetObject", {"Key": "a/2"}),
]
METHODS = {"ListObjectsV2": "list_objects_v2"}


def told(status: int, answer: dict[str, Any]) -> Any:
    """What of an answer the product can see."""
    if status >= 300:
        reasons = [reason["Code"] for reason in answer.get("CancellationReasons", [])]
        return "refused", answer["Error"]["Code"], reasons
    kept = {name: answer[name] for name in ("Item", "Items", "Attributes", "ETag", "Metadata") if name in answer}
    kept["Body"] = answer["Body"].read() if "Body" in answer else None
    kept["Keys"] = [(item["Key"], item["Size"], item["ETag"]) for item in answer.get("Contents", [])]
    kept["Versions"] = [(item["Key"], item["IsLatest"], item["ETag"]) for item in answer.get("Versions", [])]
    return kept


@pytest.fixture
def real(stack: Any) -> Callable[[str, dict[str, Any]], Any]:
    name = f"law-{uuid.uuid4().hex[:8]}"
    s3, table = stack.client("s3"), stack.client("dynamodb")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    kinds = (("pk", "HASH"), ("sk", "RANGE"))
    table.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in kinds],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in kinds],
        BillingMode="PAY_PER_REQUEST",
    )

    def ask(operation: str, request: dict[str, Any]) -> Any:
        snake = "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in operation).strip("_")
        client, where = (s3, {"Bucket": name}) if "Object" in operation else (table, {"TableName": name})
        if operation == "TransactWriteItems":
            where = {}
            for write in request["TransactItems"]:
                next(iter(write.values()))["TableName"] = name
        try:
            return told(200, getattr(client, METHODS.get(operation, snake))(**where, **request))
        except ClientError as error:
            return told(400, error.response)

    return ask


def test_the_double_answers_every_call_as_the_local_stack_does(real: Any, fire: Any) -> None:
    memory = MemoryAws()
    with fire("crash runs", "the double against the local stack", count=len(CALLS)):
        for operation, request in CALLS:
            ours = memory.answer(operation, {"Bucket": "b", **json_copy(request)})
            assert ours is not None
            assert told(*ours) == real(operation, json_copy(request)), (operation, request)


def json_copy(request: dict[str, Any]) -> dict[str, Any]:
    """A copy that may be changed; bodies stay bytes."""
    body = {"Body": request["Body"]} if "Body" in request else {}
    return {**json.loads(json.dumps({name: value for name, value in request.items() if name != "Body"})), **body}
