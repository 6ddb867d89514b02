"""Reading templates, resolving their values, and packaging code for the local stack."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tidemill.local.definitions import Definition, doubtful_patterns, pseudo_parameters, read_catalogue
from tidemill.local.errors import BadTemplate
from tidemill.local.package import package, zip_function, zip_layer
from tidemill.local.template import read_template, resolve

PROJECT = Path(__file__).parent / "project"
KNOWN = {"Name": "mill", "AWS::AccountId": "111122223333", "Role.Arn": "arn:role", "Stage": "local"}
CONDITIONS = {"IsAws": {"Fn::Equals": [{"Ref": "Stage"}, "aws"]}, "IsLocal": {"Fn::Not": [{"Condition": "IsAws"}]}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "Name"}, "mill"),
        ({"Fn::GetAtt": ["Role", "Arn"]}, "arn:role"),
        ({"Fn::Sub": "${Name}-${AWS::AccountId}-${!kept}"}, "mill-111122223333-${kept}"),
        ({"Fn::Sub": ["${a}-${Name}", {"a": {"Ref": "Name"}}]}, "mill-mill"),
        ({"Fn::Join": ["/", ["a", {"Ref": "Name"}]]}, "a/mill"),
        ({"Fn::If": ["IsAws", "there", "here"]}, "here"),
        ([{"Ref": "AWS::NoValue"}, "x"], ["x"]),
        ({"a": {"Fn::If": ["IsLocal", {"Ref": "AWS::NoValue"}, 1]}, "b": 2}, {"b": 2}),
    ],
)
def test_simple_functions_of_a_template_are_resolved(value: Any, expected: Any) -> None:
    assert resolve(value, KNOWN, CONDITIONS) == expected


def test_an_unknown_name_is_an_error_that_shows_it() -> None:
    with pytest.raises(BadTemplate, match="'Missing'"):
        resolve({"Fn::Sub": "${Missing}"}, KNOWN)


def test_short_tags_and_dates_are_read_as_cloudformation_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("Resources: {A: {Type: X, Properties: {V: 2012-10-17, B: !GetAtt C.D.E, F: !If [G, !Ref H, 1]}}}")
    properties = read_template(path)["Resources"]["A"]["Properties"]
    assert properties == {"V": "2012-10-17", "B": {"Fn::GetAtt": ["C", "D.E"]}, "F": {"Fn::If": ["G", {"Ref": "H"}, 1]}}


def test_a_zip_depends_on_nothing_but_names_and_content(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(PROJECT / "functions", tmp_path / "functions"))
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    (copy / "__pycache__").mkdir(exist_ok=True)
    (copy / "__pycache__" / "x.pyc").write_bytes(b"")
    first, second = zip_function(PROJECT / "functions"), zip_function(copy)
    assert (first.key, first.body) == (second.key, second.body)
    (copy / "work.py").write_text("changed")
    assert zip_function(copy).key != first.key


def test_a_layer_holds_our_own_source_under_python(tmp_path: Path) -> None:
    source = tmp_path / "core" / "tidemill" / "core"
    source.mkdir(parents=True)
    (source / "errors.py").write_text("")
    (tmp_path / "core" / "requirements.txt").write_text("numpy")
    names = zipfile.ZipFile(io.BytesIO(zip_layer(tmp_path / "core").body)).namelist()
    assert names == ["python/tidemill/core/errors.py"]


def test_a_layer_of_libraries_alone_is_not_an_empty_zip(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pyarrow")
    assert zipfile.ZipFile(io.BytesIO(zip_layer(tmp_path).body)).namelist() == ["python/EMPTY"]


def test_packaging_replaces_folders_and_leaves_the_template_alone() -> None:
    template = read_template(PROJECT / "template.yaml")
    packaged, packages = package(template, PROJECT, "bucket")
    assert packaged["Globals"]["Function"]["CodeUri"] in {f"s3://bucket/{item.key}" for item in packages}
    assert packaged["Resources"]["Layer"]["Properties"]["ContentUri"].startswith("s3://bucket/layer-")
    assert template["Globals"]["Function"]["CodeUri"] == "functions"


def test_a_folder_that_is_not_there_is_named() -> None:
    template = {"Resources": {"F": {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "nowhere"}}}}
    with pytest.raises(BadTemplate, match="nowhere"):
        package(template, PROJECT, "bucket")


def test_job_definitions_come_from_the_batch_template() -> None:
    known = {**pseudo_parameters("111122223333", "mill"), "JobRole.Arn": "arn:role", "Table": "table"}
    found = read_catalogue(PROJECT, known, {"Stage": "local"})
    (definition,) = found.definitions
    assert found.queues == ("sample",)
    assert definition.name == "sample"
    assert definition.role_arn == "arn:role"
    assert definition.environment == {"TABLE": "table", "WORK": "/work/deep"}
    assert definition.attempts == 3
    assert definition.rules[0] == {"onStatusReason": "Host EC2*", "action": "RETRY"}
    assert definition.timeout_s == 60


def test_a_pattern_that_aws_would_never_match_is_pointed_out() -> None:
    rules = ({"onReason": "*annotPull*", "action": "RETRY"}, {"onExitCode": "1*", "action": "EXIT"})
    (sentence,) = doubtful_patterns(Definition("d", (), rules=rules))
    assert "'*annotPull*'" in sentence
