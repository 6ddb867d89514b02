"""template.yaml, functions/, layers/ and the README describe one system."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidemill.core.submit import RETRY_RULES

FUNCTIONS = ["Preprocess", "Train", "Promote", "Predict", "Score", "Retrain", "Api", "Monitor", "Sweep"]


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, as {"Fn": value}."""


def _short(loader: Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}  # type: ignore[arg-type]


Loader.add_multi_constructor("!", _short)


@pytest.fixture(scope="module")
def template(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((root / "template.yaml").read_text(), Loader)  # noqa: S506 - a SafeLoader
    return loaded


@pytest.fixture(scope="module")
def resources(template: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"]
    return found


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: item["Properties"] for name, item in resources.items() if item["Type"] == kind}


def test_every_function_has_its_file_its_role_its_log_and_nothing_else_does(root: Path, resources: Any) -> None:
    functions = of_type(resources, "AWS::Serverless::Function")
    assert list(functions) == FUNCTIONS, "functions stand in pipeline order"
    assert {path.stem for path in (root / "functions").glob("*.py")} == {name.lower() for name in FUNCTIONS}
    for name, function in functions.items():
        assert function["Handler"] == f"{name.lower()}.handler"
        assert function["Role"] == {"GetAtt": f"{name}Role.Arn"}
        assert function["LoggingConfig"] == {"LogGroup": {"Ref": f"{name}Logs"}}
        assert (root / function["CodeUri"] / f"{name.lower()}.py").is_file()


def test_every_handler_says_what_wakes_it_in_its_first_line(root: Path) -> None:
    for name in FUNCTIONS:
        first = (root / "functions" / f"{name.lower()}.py").read_text().splitlines()[0]
        assert re.match(r'"""(Woken by|Answers) ', first), f"{name}: {first}"


def test_every_layer_is_a_folder_with_hashed_requirements(root: Path, resources: Any) -> None:
    for name, layer in of_type(resources, "AWS::Serverless::LayerVersion").items():
        folder = root / layer["ContentUri"]
        assert folder.name == name.removesuffix("Layer").lower()
        pinned = (folder / "requirements.txt").read_text()
        assert "--hash=sha256:" in pinned and "://" not in pinned


def test_no_lock_file_names_a_host(root: Path) -> None:
    for lock in [
        *root.glob("layers/*/requirements*.txt"),
        *root.glob("infra/**/requirements*.txt"),
        root / "tests/requirements.txt",
    ]:
        text = lock.read_text()
        assert "://" not in text and "--index-url" not in text, lock
        for line in text.splitlines():
            assert line.startswith((" ", "#")) or "==" in line, f"{lock}: {line} is not pinned"


def test_the_readme_lists_the_functions_in_order(root: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (root / "README.md").read_text(), flags=re.M)
    assert [row for row in rows if row in FUNCTIONS] == FUNCTIONS


def test_the_job_is_described_once(root: Path) -> None:
    """The local Batch endpoint reads infra/batch.yaml; nothing else writes the command down."""
    hits = [
        path.relative_to(root).as_posix()
        for path in [*root.glob("infra/**/*.yaml"), *root.glob("infra/**/*.py"), root / "template.yaml"]
        if re.search(r"Command: \[python, -m, tidemill\.training\.job\]", path.read_text())
    ]
    assert hits == ["infra/batch.yaml"]


def test_of_the_data_bucket_the_job_reads_backbones_and_nothing_else(root: Path, resources: Any) -> None:
    (policy,) = resources["JobRole"]["Properties"]["Policies"]
    about = [item for item in policy["PolicyDocument"]["Statement"] if "DataBucket" in str(item["Resource"])]
    assert {item["Sid"]: item["Action"] for item in about} == {
        "ReadBackbones": "s3:GetObject",
        "SeeMissingBackbones": "s3:ListBucket",
    }
    assert about[0]["Resource"] == {"Sub": "${DataBucket.Arn}/backbones/*"}
    assert about[1]["Condition"] == {"StringLike": {"s3:prefix": "backbones/*"}}
    assert "TIDEMILL_DATA_BUCKET" in (root / "infra/batch.yaml").read_text()


def test_the_retry_rules_end_with_an_exit(root: Path) -> None:
    batch = yaml.load((root / "infra/batch.yaml").read_text(), Loader)  # noqa: S506 - a SafeLoader
    for name in ("JobDefinition", "NodesDefinition"):
        rules = batch["Resources"][name]["Properties"]["RetryStrategy"]["EvaluateOnExit"]
        assert rules[-1]["Action"] == "EXIT" and len(rules) <= 5
        assert {rule["Action"] for rule in rules[:-1]} == {"RETRY"}
        told = [{key[0].lower() + key[1:]: text for key, text in rule.items()} for rule in rules]
        assert told == list(RETRY_RULES)  # which SubmitJob sends with a budget, and would replace them as a whole


def test_every_node_of_a_job_is_the_container_of_a_lone_one(root: Path) -> None:
    batch = yaml.load((root / "infra/batch.yaml").read_text(), Loader)["Resources"]  # noqa: S506 - a SafeLoader
    (nodes,) = batch["NodesDefinition"]["Properties"]["NodeProperties"]["NodeRangeProperties"]
    assert nodes["TargetNodes"] == "0:"  # open at its end, so that SubmitJob may say how many
    assert nodes["Container"] == batch["JobDefinition"]["Properties"]["ContainerProperties"]
    assert batch["Nodes"]["Properties"]["ComputeResources"]["Type"] == "EC2"  # Batch offers no Spot for such jobs


def test_the_release_is_written_once(root: Path) -> None:
    from tidemill.core.version import VERSION

    assert f'version = "{VERSION}"' in (root / "pyproject.toml").read_text()
    assert f"## {VERSION}" in (root / "CHANGELOG.md").read_text()
