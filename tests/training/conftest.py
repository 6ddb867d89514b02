"""What the training tests share: small learnable problems, and a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.training.populations import problem

from tidemill.core.prepare import prepare
from tidemill.core.spec import Data, Spec

ADULT = Path(__file__).parent.parent / "data" / "adult-3000.csv"


@pytest.fixture(scope="session")
def adult(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset folder of tests/data/adult-3000.csv."""
    folder = tmp_path_factory.mktemp("adult") / "dataset"
    prepare(ADULT, ADULT.name, Spec(data=Data(target="income")), folder, model="adult")
    return folder


@pytest.fixture(scope="session")
def make_problem() -> Any:
    """The function that makes problems: see populations.py."""
    return problem
