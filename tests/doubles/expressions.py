"""DynamoDB's condition and update expressions on items as they travel ({"N": "1"}): what the registry says in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

Wire = dict[str, Any]  # one value, typed: {"S": "text"}
_TOKEN = re.compile(r"\s*(<>|<=|>=|[()<>=,+]|[A-Za-z_:#][\w.:#]*)")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "<>": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


class Expression:
    """One expression about one item (None: there is none), with its names and values."""

    def __init__(self, text: str, item: Wire | None, names: Wire | None, values: Wire | None) -> None:
        self.tokens = _TOKEN.findall(text)
        if "".join(self.tokens) != re.sub(r"\s", "", text):
            raise ValueError(f"The double does not read {text!r}")
        self.item, self.names, self.values = item or {}, names or {}, values or {}

    # ------------------------------------------------------------------ conditions
    def holds(self) -> bool:
        """Whether the condition holds."""
        result = self._either()
        if self.tokens:
            raise ValueError(f"The double does not read {self.tokens}")
        return result

    def _either(self) -> bool:
        result = self._both()
        while self._next_is("OR"):
            result = self._both() or result
        return result

    def _both(self) -> bool:
        result = self._one()
        while self._next_is("AND"):
            result = self._one() and result
        return result

    def _one(self) -> bool:
        if self._next_is("("):
            result = self._either()
            self._expect(")")
            return result
        if self.tokens[0] in ("attribute_exists", "attribute_not_exists"):
            wanted = self.tokens.pop(0) == "attribute_exists"
            self._expect("(")
            found = self._value() is not None
            self._expect(")")
            return found is wanted
        if self._next_is("begins_with"):
            self._expect("(")
            whole = self._value()
            self._expect(",")
            start = self._value()
            self._expect(")")
            return whole is not None and str(whole["S"]).startswith((start or {})["S"])
        return self._compared()

    def _compared(self) -> bool:
        left, sign = self._value(), self.tokens.pop(0)
        if sign == "IN":
            self._expect("(")
            found = [self._value()]
            while self._next_is(","):
                found.append(self._value())
            self._expect(")")
            return left is not None and any(_same(left, value) for value in found if value is not None)
        right = self._value()
        if left is None or right is None:
            return sign == "<>" and left is not right
        if left.keys() != right.keys():
            return sign == "<>"
        return _COMPARE[sign](native(left), native(right))

    # ------------------------------------------------------------------ updates
    def updated(self) -> Wire:
        """The item after the update; every right side is read from the item as it was."""
        after = dict(self.item)
        action = ""
        while self.tokens:
            if self.tokens[0] in ("SET", "REMOVE", "ADD"):
                action = self.tokens.pop(0)
            path = self._path(self.tokens.pop(0))
            if action == "SET":
                self._expect("=")
                after = _put(after, path, self._sum())
            elif action == "ADD":
                after = _put(after, path, _plus(_at(self.item, path) or {"N": "0"}, self._value()))
            else:
                after.pop(path[0], None)
            self._next_is(",")
        return after

    def _sum(self) -> Wire:
        total = self._operand()
        while self._next_is("+"):
            total = _plus(total, self._operand())
        return total

    def _operand(self) -> Wire:
        if self._next_is("if_not_exists"):
            self._expect("(")
            there = self._value()
            self._expect(",")
            other = self._operand()
            self._expect(")")
            return there if there is not None else other
        value = self._value()
        if value is None:
            raise LookupError("The provided expression refers to an attribute that does not exist in the item")
        return value

    # ------------------------------------------------------------------ tokens
    def _value(self) -> Wire | None:
        token = self.tokens.pop(0)
        return self.values[token] if token.startswith(":") else _at(self.item, self._path(token))

    def _path(self, token: str) -> list[str]:
        return [self.names[part] if part.startswith("#") else part for part in token.split(".")]

    def _next_is(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._next_is(token):
            raise ValueError(f"The double expected {token!r} before {self.tokens}")


def native(value: Wire) -> Any:
    """What a typed value compares as: text by its bytes, numbers as numbers."""
    ((kind, held),) = value.items()
    return Decimal(held) if kind == "N" else held.encode() if kind == "S" else held


def _same(left: Wire, right: Wire) -> bool:
    return left.keys() == right.keys() and bool(native(left) == native(right))


def _plus(left: Wire, right: Wire | None) -> Wire:
    return {"N": str(Decimal(left["N"]) + Decimal((right or {})["N"]))}


def _at(item: Wire, path: list[str]) -> Wire | None:
    value = item.get(path[0])
    for part in path[1:]:
        value = value["M"].get(part) if value is not None and "M" in value else None
    return value


def _put(item: Wire, path: list[str], value: Wire) -> Wire:
    if len(path) == 1:
        return {**item, path[0]: value}
    if path[0] not in item or "M" not in item[path[0]]:
        raise LookupError("The document path provided in the update expression is invalid for update")
    return {**item, path[0]: {"M": _put(item[path[0]]["M"], path[1:], value)}}
