"""One DynamoDB table with keys pk and sk: reading, paging, numbers, and which errors mean "the condition failed"."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from tidemill.core import clients

Item = dict[str, Any]
_REFUSALS = ("TransactionCanceledException", "TransactionConflictException", "TransactionInProgressException")


class Table:
    """The table by name. `resource` is a boto3 DynamoDB resource; one is made where none is given."""

    def __init__(self, name: str, resource: Any = None) -> None:
        resource = resource if resource is not None else clients.resource("dynamodb")
        self.name = name
        self.table = resource.Table(name)

    def get(self, pk: str, sk: str) -> Item | None:
        """One item without its keys, read consistently, or None."""
        item = self.table.get_item(Key={"pk": pk, "sk": sk}, ConsistentRead=True).get("Item")
        return None if item is None else without_keys(plain(item))

    def query(self, pk: str, prefix: str = "") -> list[Item]:
        """The items of a partition whose sort key starts with the prefix, in order, keys included."""
        values = {":pk": pk, **({":sk": prefix} if prefix else {})}
        query: Item = {
            "KeyConditionExpression": "pk = :pk" + (" AND begins_with(sk, :sk)" if prefix else ""),
            "ExpressionAttributeValues": values,
            "ConsistentRead": True,
        }
        found: list[Item] = []
        while True:
            answer = self.table.query(**query)
            found += [plain(item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return found
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def put(self, item: Item) -> None:
        """Write an item whatever stands there."""
        self.table.put_item(Item=stored(item))

    def put_new(self, item: Item) -> None:
        """Write an item unless one with its keys stands there."""
        try:
            self.table.put_item(Item=stored(item), ConditionExpression="attribute_not_exists(pk)")
        except ClientError as error:
            only_condition(error)

    def put_all(self, items: list[Item]) -> None:
        """Write items whatever stands there, many in one call."""
        with self.table.batch_writer(overwrite_by_pkeys=["pk", "sk"]) as batch:
            for item in items:
                batch.put_item(Item=stored(item))

    def put_where(self, item: Item, condition: str, values: Item, names: dict[str, str] | None = None) -> None:
        """Write an item where a condition on what stands there holds; else leave that as it is."""
        more = {"ExpressionAttributeNames": names} if names else {}
        request = {"ConditionExpression": condition, "ExpressionAttributeValues": stored(values), **more}
        try:
            self.table.put_item(Item=stored(item), **request)
        except ClientError as error:
            only_condition(error)

    def update(self, pk: str, sk: str, expression: str, values: Item, **more: Any) -> Item | None:
        """Change an item under `condition`, with `names` for attribute names; the new item, None if refused."""
        request: Item = {
            "Key": {"pk": pk, "sk": sk},
            "UpdateExpression": expression,
            "ExpressionAttributeValues": stored(values),
            "ReturnValues": "ALL_NEW",
        }
        if "condition" in more:
            request["ConditionExpression"] = more["condition"]
        if "names" in more:
            request["ExpressionAttributeNames"] = more["names"]
        try:
            answer = self.table.update_item(**request)
        except ClientError as error:
            only_condition(error)
            return None
        return without_keys(plain(answer["Attributes"]))

    def transact(self, *writes: dict[str, Item]) -> bool:
        """All writes or none; False when a condition or another writer refused them (read back before believing it)."""
        for write in writes:
            for request in write.values():
                request["TableName"] = self.name
                for field in ("Item", "ExpressionAttributeValues"):
                    if field in request:
                        request[field] = stored(request[field])
        try:
            self.table.meta.client.transact_write_items(TransactItems=list(writes))
        except ClientError as error:
            if error.response["Error"]["Code"] not in _REFUSALS:
                raise
            return False
        return True


def without_keys(item: Item) -> Item:
    """The item as callers see it."""
    return {name: value for name, value in item.items() if name not in ("pk", "sk")}


def plain(value: Any) -> Any:
    """DynamoDB's numbers as int and float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def stored(value: Any) -> Any:
    """int and float as DynamoDB's numbers (at most 38 digits; a float has 17)."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: stored(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [stored(item) for item in value]
    return value


def only_condition(error: ClientError) -> None:
    """Swallow a refused condition, raise anything else."""
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error
