"""Read a CloudFormation template from YAML and resolve its simple intrinsic functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tidemill.local.errors import BadTemplate

_PLACE = re.compile(r"\$\{([^!{}][^{}]*)\}")


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags (!Ref, !Sub ...) read as their long form."""


def _short_tag(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    """`!Sub x` as {"Fn::Sub": x}."""
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    """A date stays the text it was written as ("2012-10-17")."""
    return str(loader.construct_scalar(node))


_Loader.add_multi_constructor("!", _short_tag)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)


def read_template(path: Path) -> dict[str, Any]:
    """The template as the JSON that CloudFormation also takes."""
    try:
        found = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 a SafeLoader with tags added
    except (OSError, yaml.YAMLError) as error:
        raise BadTemplate(f"{path} cannot be read: {error}", remedy="Check the file.") from error
    if not isinstance(found, dict) or "Resources" not in found:
        raise BadTemplate(f"{path} has no Resources.", remedy="Name a CloudFormation template.")
    return found


def resolve(value: Any, known: Mapping[str, Any], conditions: Mapping[str, Any] | None = None) -> Any:
    """The value with Ref, Fn::Sub, Fn::GetAtt, Fn::Join, Fn::If and Fn::Equals replaced; unknown names raise."""
    if isinstance(value, list):
        return [item for part in value if (item := resolve(part, known, conditions)) is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        name, argument = next(iter(value.items()))
        if name in _FUNCTIONS:
            return _FUNCTIONS[name](argument, known, conditions or {})
    pairs = {key: resolve(part, known, conditions) for key, part in value.items()}
    return {key: part for key, part in pairs.items() if part is not NO_VALUE}


NO_VALUE = object()


def _known(name: str, known: Mapping[str, Any]) -> Any:
    if name == "AWS::NoValue":
        return NO_VALUE
    if name not in known:
        raise BadTemplate(f"{name!r} has no value on the local stack.", remedy="Add an output or a default for it.")
    return known[name]


def _sub(argument: Any, known: Mapping[str, Any], conditions: Mapping[str, Any]) -> str:
    text, extra = (argument, {}) if isinstance(argument, str) else argument
    names = {**known, **resolve(extra, known, conditions)}
    filled = _PLACE.sub(lambda place: str(_known(place[1].strip(), names)), text)
    return filled.replace("${!", "${")


def _get_att(argument: Any, known: Mapping[str, Any], _: Mapping[str, Any]) -> Any:
    return _known(argument if isinstance(argument, str) else ".".join(argument), known)


def _join(argument: Any, known: Mapping[str, Any], conditions: Mapping[str, Any]) -> str:
    return str(argument[0]).join(str(part) for part in resolve(argument[1], known, conditions))


def _if(argument: Any, known: Mapping[str, Any], conditions: Mapping[str, Any]) -> Any:
    name, then, other = argument
    return resolve(then if _holds({"Condition": name}, known, conditions) else other, known, conditions)


def _holds(condition: Any, known: Mapping[str, Any], conditions: Mapping[str, Any]) -> bool:
    """Whether a condition of the template is true."""
    name, argument = next(iter(condition.items()))
    if name == "Condition":
        if argument not in conditions:
            raise BadTemplate(f"The condition {argument!r} does not exist.", remedy="Declare it under Conditions.")
        return _holds(conditions[argument], known, conditions)
    if name == "Fn::Equals":
        left, right = resolve(argument, known, conditions)
        return str(left) == str(right)
    if name == "Fn::Not":
        return not _holds(argument[0], known, conditions)
    if name in ("Fn::And", "Fn::Or"):
        parts = [_holds(part, known, conditions) for part in argument]
        return all(parts) if name == "Fn::And" else any(parts)
    raise BadTemplate(f"{name!r} is not a condition.", remedy="Use Equals, Not, And, Or.")


_FUNCTIONS = {
    "Ref": lambda argument, known, _: _known(argument, known),
    "Fn::Sub": _sub,
    "Fn::GetAtt": _get_att,
    "Fn::Join": _join,
    "Fn::If": _if,
}
