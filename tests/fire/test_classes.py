"""Every class of fault has a test, and the tests that the table names exist."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from tests.fire.classes import CLASSES

pytestmark = pytest.mark.fire
LEAST = 40


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_of_fault_is_covered_by_tests_that_exist(fire: Any, root: Path, name: str) -> None:
    with fire("fault classes covered", name):
        assert CLASSES[name], f"{name} has no test"
        for test in CLASSES[name]:
            path, function = test.split("::")
            found = ast.walk(ast.parse((root / path).read_text()))
            names = {node.name for node in found if isinstance(node, ast.FunctionDef)}
            assert function in names, f"{test} does not exist"


def test_there_are_at_least_forty_classes() -> None:
    assert len(CLASSES) == 49 >= LEAST
