"""The template as CloudFormation sees it: SAM resources expanded, and optionally settled for one stage.

`python -m tidemill.cloud.expand` prints the expansion as JSON. Nothing here touches the network.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.core.errors import TidemillError

Template = dict[str, Any]
ROOT = Path(__file__).resolve().parents[3]
REGION = "eu-central-1"  # any will do: the expansion only asks which partition it is in
PACKAGED = "s3://tidemill-artifacts/{name}.zip"  # what `sam package` would have put there
NESTED = "https://s3.amazonaws.com/tidemill-artifacts/{name}"


class BadTemplate(TidemillError):
    """A template that cannot be read or expanded."""

    code, title = "BAD_TEMPLATE", "The template cannot be expanded"


def read(path: Path) -> Template:
    """A template as written, short forms spelled out (!Ref as {"Ref": ...})."""
    from samtranslator.yaml_helper import yaml_parse

    try:
        return dict(yaml_parse(path.read_text(encoding="utf-8")))
    except Exception as error:
        raise BadTemplate(f"{path.name} is not a template: {error}", remedy="Check the line it names.") from error


def expand(path: Path = ROOT / "template.yaml") -> Template:
    """The plain CloudFormation template that a SAM template stands for; others come back as they are."""
    template = _packaged(read(path))
    if "Transform" not in template:
        return template
    import boto3
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    try:
        expanded: Template = translator.translate(template, {})
    except Exception as error:
        causes = "; ".join(str(cause.message) for cause in getattr(error, "causes", [])) or str(error)
        raise BadTemplate(f"{path.name}: {causes}", remedy="Mend the resource it names.") from error
    return dict(json.loads(json.dumps(expanded)))


def _packaged(template: Template) -> Template:
    """The template with local paths replaced as packaging does."""
    template = copy.deepcopy(template)
    common = template.get("Globals", {}).get("Function", {})
    for name, properties in [("Common", common), *_properties(template)]:
        for key in ("CodeUri", "ContentUri"):
            if isinstance(properties.get(key), str):
                properties[key] = PACKAGED.format(name=name)
    for resource in template.get("Resources", {}).values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::CloudFormation::Stack" and "://" not in str(properties.get("TemplateURL")):
            properties["TemplateURL"] = NESTED.format(name=Path(properties["TemplateURL"]).name)
    return template


def _properties(template: Template) -> list[tuple[str, dict[str, Any]]]:
    return [(name, item.get("Properties", {})) for name, item in template.get("Resources", {}).items()]


def settle(template: Template, **parameters: str) -> Template:
    """The template for one set of parameters: conditions decided, mappings looked up, what is left out gone."""
    values = {name: item.get("Default") for name, item in template.get("Parameters", {}).items()} | parameters
    settled = _Settling(values, template.get("Mappings", {}), template.get("Conditions", {}))
    resources = {
        name: settled.value(resource)
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or settled.holds(resource["Condition"])
    }
    return {**template, "Resources": resources}


_GONE = object()


class _Settling:
    """Replaces Ref to parameters, Fn::FindInMap and Fn::If by what they come to; the rest stays as it is."""

    def __init__(
        self, parameters: Mapping[str, Any], mappings: Mapping[str, Any], conditions: Mapping[str, Any]
    ) -> None:
        self.parameters, self.mappings, self.conditions = parameters, mappings, conditions

    def value(self, node: Any) -> Any:
        """A node with everything settled below it."""
        if isinstance(node, list):
            return [item for item in map(self.value, node) if item is not _GONE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, body),) = node.items()
            if name in ("Ref", "Fn::FindInMap", "Fn::If"):
                return self._function(name, body)
        return {name: item for name, inner in node.items() if (item := self.value(inner)) is not _GONE}

    def _function(self, name: str, body: Any) -> Any:
        if name == "Ref":
            return _GONE if body == "AWS::NoValue" else self.parameters.get(body, {"Ref": body})
        if name == "Fn::If":
            condition, yes, no = body
            return self.value(yes if self.holds(condition) else no)
        table, first, second = (self.value(part) for part in body)
        return self.mappings[table][first][second]

    def holds(self, condition: Any) -> bool:
        """Whether a condition, by name or as a function, is true."""
        if isinstance(condition, str):
            return self.holds(self.conditions[condition])
        ((name, body),) = condition.items()
        if name == "Condition":
            return self.holds(body)
        if name == "Fn::Equals":
            return bool(self.value(body[0]) == self.value(body[1]))
        told = [self.holds(part) for part in body]
        return {"Fn::Not": lambda: not told[0], "Fn::And": lambda: all(told), "Fn::Or": lambda: any(told)}[name]()


def main(arguments: list[str] | None = None) -> int:
    """Print the expansion."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.cloud.expand", description=__doc__)
    parser.add_argument("template", nargs="?", type=Path, default=ROOT / "template.yaml")
    options = parser.parse_args(arguments)
    json.dump(expand(options.template), sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
