"""S3 with versions and DynamoDB with conditions and transactions, in dictionaries: fast, and copied in no time.

`answer` takes an operation and its request as the client would send it and gives (HTTP status, parsed answer), so that
the real clients stand in front of it: their checks, their types, their errors. tests/fire/test_memory_aws.py holds it
to what the local stack answers. Only what Tidemill asks is known; anything else is an error, not a guess.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.doubles.expressions import Expression, Wire

Answer = tuple[int, dict[str, Any]]
Place = tuple[str, str]


@dataclass(frozen=True)
class Object:
    """One version of one object."""

    body: bytes
    etag: str
    version: str
    at: datetime
    metadata: dict[str, str] = field(default_factory=dict)


class Body(io.BytesIO):
    """A body as boto3 gives it."""

    def iter_chunks(self, size: int = 1024) -> Iterator[bytes]:
        """The content in pieces."""
        return iter(lambda: self.read(size), b"")


@dataclass
class MemoryAws:
    """One table and any number of buckets, all versioned."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    items: dict[Place, Wire] = field(default_factory=dict)
    objects: dict[Place, tuple[Object, ...]] = field(default_factory=dict)
    number: int = 0  # of versions given

    def answer(self, operation: str, request: dict[str, Any]) -> Answer | None:
        """The answer to one call; None for operations of other services."""
        act = _ACTS.get(operation)
        return None if act is None else act(self, request)

    def copied(self) -> tuple[dict[Place, Wire], dict[Place, tuple[Object, ...]], int]:
        """The state; nothing in it is ever changed in place, so a shallow copy is a whole one."""
        return dict(self.items), dict(self.objects), self.number

    def restore(self, state: tuple[dict[Place, Wire], dict[Place, tuple[Object, ...]], int]) -> None:
        """Go back to a copied state."""
        self.items, self.objects, self.number = dict(state[0]), dict(state[1]), state[2]

    def newest(self, bucket: str, key: str) -> Object | None:
        """The object as it is read now."""
        found = self.objects.get((bucket, key))
        return found[-1] if found else None

    # ------------------------------------------------------------------ S3
    def put_object(self, request: dict[str, Any]) -> Answer:
        place = (request["Bucket"], request["Key"])
        if request.get("IfNoneMatch") == "*" and place in self.objects:
            return refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        given = request.get("Body", b"")
        body = given if isinstance(given, bytes) else given.read()
        self.number += 1
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        made = Object(body, etag, f"v{self.number:08d}", self.now(), dict(request.get("Metadata") or {}))
        self.objects[place] = (*self.objects.get(place, ()), made)
        return 200, {"ETag": f'"{etag}"', "VersionId": made.version}

    def get_object(self, request: dict[str, Any]) -> Answer:
        found = self.newest(request["Bucket"], request["Key"])
        if found is None:
            return refused(404, "NoSuchKey", "The specified key does not exist.")
        return 200, {**_head(found), "Body": Body(found.body)}

    def head_object(self, request: dict[str, Any]) -> Answer:
        found = self.newest(request["Bucket"], request["Key"])
        return (200, _head(found)) if found is not None else refused(404, "404", "Not Found")

    def delete_object(self, request: dict[str, Any]) -> Answer:
        self.objects.pop((request["Bucket"], request["Key"]), None)  # with all versions: nothing asks for older ones
        return 204, {}

    def list_objects(self, request: dict[str, Any]) -> Answer:
        found = list(self._under(request))[: request.get("MaxKeys", 1000)]
        listed = [{"Key": key, **_listed(versions[-1])} for key, versions in found]
        return 200, {"Contents": listed, "IsTruncated": False, "KeyCount": len(listed)}

    def list_versions(self, request: dict[str, Any]) -> Answer:
        listed = [
            {"Key": key, "VersionId": item.version, "IsLatest": item is versions[-1], **_listed(item)}
            for key, versions in self._under(request)
            for item in reversed(versions)
        ]
        return 200, {"Versions": listed, "IsTruncated": False}

    def _under(self, request: dict[str, Any]) -> Iterator[tuple[str, tuple[Object, ...]]]:
        bucket, prefix = request["Bucket"], request.get("Prefix", "")
        for place in sorted(self.objects):
            if place[0] == bucket and place[1].startswith(prefix):
                yield place[1], self.objects[place]

    # ------------------------------------------------------------------ DynamoDB
    def get_item(self, request: dict[str, Any]) -> Answer:
        found = self.items.get(_key(request["Key"]))
        return 200, {} if found is None else {"Item": found}

    def put_item(self, request: dict[str, Any]) -> Answer:
        place = _key(request["Item"])
        if not self._holds(place, request):
            return _failed()
        self.items[place] = request["Item"]
        return 200, {}

    def write_batch(self, request: dict[str, Any]) -> Answer:
        for writes in request["RequestItems"].values():
            for write in writes:
                item = write["PutRequest"]["Item"]  # nothing here deletes
                self.items[_key(item)] = item
        return 200, {"UnprocessedItems": {}}

    def update_item(self, request: dict[str, Any]) -> Answer:
        place = _key(request["Key"])
        if not self._holds(place, request):
            return _failed()
        try:
            self.items[place] = self._updated(place, request)
        except LookupError as error:
            return refused(400, "ValidationException", str(error))
        return 200, {"Attributes": self.items[place]} if request.get("ReturnValues") == "ALL_NEW" else {}

    def query(self, request: dict[str, Any]) -> Answer:
        names, values = request.get("ExpressionAttributeNames"), request["ExpressionAttributeValues"]
        condition = request["KeyConditionExpression"]
        places = sorted(place for place in self.items if place[0] == values[":pk"]["S"])
        found = [self.items[at] for at in places if Expression(condition, self.items[at], names, values).holds()]
        if not request.get("ScanIndexForward", True):
            found.reverse()
        found = found[: request.get("Limit", len(found))]
        return 200, {"Items": found, "Count": len(found)}

    def transact(self, request: dict[str, Any]) -> Answer:
        writes = [next(iter(write.items())) for write in request["TransactItems"]]
        places = [_key(about["Item"] if kind == "Put" else about["Key"]) for kind, about in writes]
        if len(set(places)) < len(places):
            return refused(
                400, "ValidationException", "Transaction request cannot include multiple operations on one item"
            )
        held = [self._holds(place, about) for place, (_, about) in zip(places, writes, strict=True)]
        if not all(held):
            reasons = [{"Code": "None" if one else "ConditionalCheckFailed"} for one in held]
            status, told = refused(400, "TransactionCanceledException", "Transaction cancelled")
            return status, {**told, "CancellationReasons": reasons}
        for place, (kind, about) in zip(places, writes, strict=True):
            if kind == "Put":
                self.items[place] = about["Item"]
            elif kind == "Update":
                self.items[place] = self._updated(place, about)
            elif kind == "Delete":
                self.items.pop(place, None)
        return 200, {}

    def _holds(self, place: Place, request: dict[str, Any]) -> bool:
        condition = request.get("ConditionExpression")
        if not condition:
            return True
        more = request.get("ExpressionAttributeNames"), request.get("ExpressionAttributeValues")
        return Expression(condition, self.items.get(place), *more).holds()

    def _updated(self, place: Place, request: dict[str, Any]) -> Wire:
        item = self.items.get(place) or dict(request["Key"])
        more = request.get("ExpressionAttributeNames"), request.get("ExpressionAttributeValues")
        return Expression(request["UpdateExpression"], item, *more).updated()


def refused(status: int, code: str, message: str) -> Answer:
    """An error as the client reads it from the answer."""
    return status, {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}


def _failed() -> Answer:
    return refused(400, "ConditionalCheckFailedException", "The conditional request failed")


def _key(item: Wire) -> Place:
    return item["pk"]["S"], item["sk"]["S"]


def _head(found: Object) -> dict[str, Any]:
    return {
        **{"ETag": f'"{found.etag}"', "ContentLength": len(found.body), "LastModified": found.at},
        **{"Metadata": dict(found.metadata), "VersionId": found.version},
    }


def _listed(found: Object) -> dict[str, Any]:
    return {"Size": len(found.body), "ETag": f'"{found.etag}"', "LastModified": found.at}


_ACTS: dict[str, Callable[[MemoryAws, dict[str, Any]], Answer]] = {
    "PutObject": MemoryAws.put_object,
    "GetObject": MemoryAws.get_object,
    "HeadObject": MemoryAws.head_object,
    "DeleteObject": MemoryAws.delete_object,
    "ListObjectsV2": MemoryAws.list_objects,
    "ListObjectVersions": MemoryAws.list_versions,
    "GetItem": MemoryAws.get_item,
    "BatchWriteItem": MemoryAws.write_batch,
    "PutItem": MemoryAws.put_item,
    "UpdateItem": MemoryAws.update_item,
    "Query": MemoryAws.query,
    "TransactWriteItems": MemoryAws.transact,
}
