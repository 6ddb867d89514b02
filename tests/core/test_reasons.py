"""Every reason code that the code can give is explained in both languages, and the pages are those of the tables."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tidemill.cloud import pages
from tidemill.core.errors import TidemillError
from tidemill.core.reasons import reasons

PRODUCT = ("layers/core", "layers/serving", "layers/training", "functions")
CODE = re.compile(r"[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+|[A-Z]{4,}")
ENVIRONMENT = ("TIDEMILL_", "AWS_LAMBDA_", "AWS_BATCH_", "AWS_DEFAULT", "AWS_ENDPOINT", "AWS_SECRET", "AWS_SESSION")
# States, keys of the table, names of formats and of the environment.
OTHER_WORDS = """
NCCL
ALL_NEW AWS_ACCESS_KEY_ID AWS_REGION AWS_CONTAINER_CREDENTIALS_FULL_URI CANCELLED CAPACITY CLOCKS DISABLED DONE
ECS_CONTAINER_METADATA_URI_V4 ENABLED ERROR EXIT FAILED FULL HWIO INFO INSUFFICIENT_INSTANCE_CAPACITY
JAX_COMPILATION_CACHE_DIR JPEG KEYS LABELS LIVE MAIN_NODE META MISCONFIGURATION MODELS MONITOR MOVE NCHW NFKC NFKD
NHWC NODE NULL OIHW OMP_NUM_THREADS ORIGIN PENDING POST PREPARED READY RECEIVED REFUSED REJECTED REPORT RETRAIN
RETRY RGBA RMSE RUNNABLE RUNNING SAME SCHEDULE SCORING STARTED STARTING SUBMITTED SWEEP TERMINAL TIFF
TRAINING WEBP XLA_FLAGS NAME HEAD DELETE ACTIVE ALIAS VERSION BLOCKED VALID NONE TRACE OPTIONS PATCH SUCCEEDED BYTES
JSON HEALTH DATASET FINGERPRINT LABEL
"""
NOT_REASONS = frozenset(OTHER_WORDS.split())


def constants(root: Path) -> dict[str, str]:
    """Every text in the code that looks like a code, and where it first stands."""
    found: dict[str, str] = {}
    for folder in PRODUCT:
        for path in sorted((root / folder).rglob("*.py")):
            if ".build" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                    found.setdefault(node.value, f"{path.relative_to(root)}:{node.lineno}")
    return found


def test_every_code_in_the_code_is_explained(root: Path) -> None:
    unknown = {
        code: where
        for code, where in constants(root).items()
        if code not in reasons() and code not in NOT_REASONS and not code.startswith(ENVIRONMENT)
    }
    assert unknown == {}


def test_every_explained_code_can_come_up(root: Path) -> None:
    assert set(reasons()) - set(constants(root)) == set()


def test_every_kind_of_error_is_explained() -> None:
    kinds = [TidemillError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.__module__.startswith("tidemill.") and kind is not TidemillError and "cli" not in kind.__module__:
            assert kind.code in reasons() or ".local" in kind.__module__ or ".cloud" in kind.__module__, kind


def test_every_reason_says_what_and_what_to_do_in_both_languages() -> None:
    for one in reasons().values():
        assert one.sentence.endswith(".") and one.remedy and one.sentence != one.remedy, one.code
        assert re.search(r"[\u4e00-\u9fff]", one.sentence_zh) and re.search(r"[\u4e00-\u9fff]", one.remedy_zh), one.code
        assert not re.search(r"[\u4e00-\u9fff]", one.sentence + one.remedy), one.code


@pytest.mark.parametrize("name", pages.PAGES)
def test_the_pages_are_those_of_the_tables(root: Path, name: str) -> None:
    assert (root / name).read_text(encoding="utf-8") == pages.PAGES[name](), "run make pages"
