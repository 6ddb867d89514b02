"""Job definitions for local Batch, read from the template that describes AWS Batch: there is no second description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tidemill.local.errors import BadTemplate
from tidemill.local.state import REGION, Folder, read_json, write_json
from tidemill.local.template import read_template, resolve

_PATTERN = re.compile(r"[A-Za-z0-9.:\s]*\*?")
_RULE = {"OnStatusReason": "onStatusReason", "OnReason": "onReason", "OnExitCode": "onExitCode", "Action": "action"}


@dataclass(frozen=True)
class Definition:
    """One job definition with its values filled in."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    rules: tuple[Mapping[str, str], ...] = ()
    timeout_s: int | None = None
    role_arn: str = ""
    image: str = ""
    mounts: tuple[str, ...] = ()
    nodes: int = 1


@dataclass(frozen=True)
class Catalogue:
    """What local Batch offers: queues, definitions, and where the job's code is."""

    queues: tuple[str, ...]
    definitions: tuple[Definition, ...]
    python_path: tuple[str, ...]


def read_catalogue(root: Path, known: Mapping[str, Any], parameters: Mapping[str, str]) -> Catalogue:
    """The queues and job definitions of the nested Batch stacks of a repository's template.

    `known` are the values of the deployed main stack: outputs, Ref of its resources, and their GetAtt as "Name.Arn".
    """
    main = read_template(root / "template.yaml")
    names = {**_defaults(main), **parameters, **known}
    queues: list[str] = []
    definitions: list[Definition] = []
    for resource in main["Resources"].values():
        location = resource.get("Properties", {}).get("TemplateURL")
        if resource["Type"] != "AWS::CloudFormation::Stack" or not isinstance(location, str):
            continue
        nested = read_template(root / location)
        given = _resolvable(resource["Properties"].get("Parameters", {}), names, main.get("Conditions", {}))
        inner = {**_defaults(nested), **_pseudo(known), **given}
        conditions = nested.get("Conditions", {})
        for part in nested["Resources"].values():
            if part["Type"] == "AWS::Batch::JobQueue":
                queues.append(str(resolve(part["Properties"]["JobQueueName"], inner, conditions)))
            elif part["Type"] == "AWS::Batch::JobDefinition":
                definitions.append(read_definition(part["Properties"], inner, conditions))
    paths = tuple(str(path) for path in sorted((root / "layers").glob("*")) if (path / "tidemill").is_dir())
    return Catalogue(tuple(queues), tuple(definitions), paths)


def read_definition(
    properties: Mapping[str, Any], known: Mapping[str, Any], conditions: Mapping[str, Any]
) -> Definition:
    """An AWS::Batch::JobDefinition as local Batch runs it: no image, no resources, no network."""

    def value(part: Any) -> Any:
        return resolve(part, known, conditions)

    several = properties.get("NodeProperties") or {}  # one range of equal nodes is all that is known here
    container = several["NodeRangeProperties"][0]["Container"] if several else properties["ContainerProperties"]
    retry = value(properties.get("RetryStrategy", {}))
    rules = tuple({_RULE[key]: str(text) for key, text in rule.items()} for rule in retry.get("EvaluateOnExit", []))
    timeout = value(properties.get("Timeout", {})).get("AttemptDurationSeconds")
    return Definition(
        name=str(value(properties["JobDefinitionName"])),
        command=tuple(str(word) for word in value(container.get("Command", []))),
        environment={item["Name"]: str(item["Value"]) for item in value(container.get("Environment", []))},
        parameters={name: str(text) for name, text in value(properties.get("Parameters", {})).items()},
        attempts=int(retry.get("Attempts", 1)),
        rules=rules,
        timeout_s=None if timeout is None else int(timeout),
        role_arn=str(value(container["JobRoleArn"])) if "JobRoleArn" in container else "",
        image="local",
        mounts=tuple(str(value(mount["ContainerPath"])) for mount in container.get("MountPoints", [])),
        nodes=int(value(several.get("NumNodes", 1))),
    )


def doubtful_patterns(definition: Definition) -> list[str]:
    """What AWS Batch would refuse or never match: it knows an asterisk at the end of a pattern only."""
    return [
        f"{definition.name}: EvaluateOnExit has {pattern!r} for {name}; AWS Batch allows letters, digits, '.', ':', "
        "blanks, and one '*' at the end ('CannotPull*')."
        for rule in definition.rules
        for name, pattern in rule.items()
        if name != "action" and not _PATTERN.fullmatch(pattern)
    ]


def _defaults(template: Mapping[str, Any]) -> dict[str, Any]:
    parameters = template.get("Parameters", {})
    return {name: body["Default"] for name, body in parameters.items() if "Default" in body}


def _pseudo(known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in known.items() if name.startswith("AWS::")}


def _resolvable(values: Mapping[str, Any], known: Mapping[str, Any], conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Those that have a value here; a subnet has none."""
    found = {}
    for name, value in values.items():
        try:
            found[name] = resolve(value, known, conditions)
        except BadTemplate:
            continue
    return found


def pseudo_parameters(account: str, stack: str) -> dict[str, str]:
    """The values CloudFormation gives by itself."""
    return {
        "AWS::AccountId": account,
        "AWS::Region": REGION,
        "AWS::Partition": "aws",
        "AWS::URLSuffix": "amazonaws.com",
        "AWS::StackName": stack,
    }


def save_catalogue(folder: Folder, catalogue: Catalogue) -> None:
    """Hand the catalogue to the server."""
    write_json(folder.catalogue, asdict(catalogue))


def load_catalogue(folder: Folder) -> Catalogue | None:
    """The catalogue last deployed, None before the first deployment."""
    kept = read_json(folder.catalogue)
    if kept is None:
        return None
    definitions = tuple(_definition(body) for body in kept["definitions"])
    return Catalogue(tuple(kept["queues"]), definitions, tuple(kept["python_path"]))


def _definition(body: dict[str, Any]) -> Definition:
    """A definition as `save_catalogue` wrote it: JSON has lists where we have tuples."""
    fields: dict[str, Any] = {key: tuple(part) if isinstance(part, list) else part for key, part in body.items()}
    return Definition(**fields)
