"""A small pure judge of identity policies, and the mutants of a policy: what is left when one right is taken away."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

Statement = dict[str, Any]


@dataclass(frozen=True)
class Mutant:
    """One right less: the role, what was taken, and the statements left."""

    role: str
    taken: str
    left: tuple[Statement, ...]


def listed(value: Any) -> list[Any]:
    """One or many as many."""
    return value if isinstance(value, list) else [value]


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def like(value: str, pattern: str) -> bool:
    """IAM's wildcards: * and ?."""
    return bool(_pattern(pattern).fullmatch(value))


OPERATORS: dict[str, Callable[[str, str], bool]] = {"StringLike": like, "StringEquals": str.__eq__}


def holds(operator: str, wanted: list[str], given: list[str] | None) -> bool:
    """Whether one line of a condition holds for what the call says (None: it says nothing)."""
    quantifier, _, plain = operator.rpartition(":")
    name = plain.removesuffix("IfExists")
    if given is None:
        return quantifier == "ForAllValues" or name != plain
    each = [any(OPERATORS[name](value, one) for one in wanted) for value in given]
    return all(each) if quantifier == "ForAllValues" else any(each)


def applies(statement: Statement, action: str, resource: str, context: dict[str, Any]) -> bool:
    """Whether a statement speaks of a call; an unknown condition operator is a KeyError."""
    if not any(like(action.lower(), one.lower()) for one in listed(statement["Action"])):
        return False
    if not any(like(resource, one) for one in listed(statement["Resource"])):
        return False
    lowered = {key.lower(): value for key, value in context.items()}
    for operator, keys in statement.get("Condition", {}).items():
        for key, wanted in keys.items():
            given = lowered.get(key.lower())
            if not holds(operator, listed(wanted), None if given is None else [str(one) for one in listed(given)]):
                return False
    return True


def allows(statements: Any, action: str, resource: str, context: dict[str, Any]) -> bool:
    """Allowed by one and denied by none."""
    effects = {each["Effect"] for each in statements if applies(each, action, resource, context)}
    return effects == {"Allow"}


def mutants(role: str, statements: list[Statement]) -> Iterator[Mutant]:
    """Each statement, each action of several and each resource of several taken away."""
    for at, statement in enumerate(statements):
        others = (*statements[:at], *statements[at + 1 :])
        name = statement.get("Sid") or f"statement {at}"
        yield Mutant(role, name, others)
        for field in ("Action", "Resource"):
            values = listed(statement[field])
            for value in values if len(values) > 1 else ():
                less = copy.deepcopy(statement)
                less[field] = [one for one in values if one != value]
                yield Mutant(role, f"{name}: {value}", (*others, less))
