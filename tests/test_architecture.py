"""Who may import whom. The picture below is the architecture; a wrong arrow, lazy ones too, fails here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

# folder of a package -> (its import name, what else of Tidemill it may import)
PICTURE: dict[str, tuple[str, set[str]]] = {
    "layers/core/tidemill/core": ("tidemill.core", set()),
    "layers/serving/tidemill/serving": ("tidemill.serving", {"tidemill.core"}),
    "layers/training/tidemill/training": ("tidemill.training", {"tidemill.core"}),
    "functions": ("functions", {"tidemill.core", "tidemill.serving"}),
    "infra/tidemill/local": ("tidemill.local", {"tidemill.core"}),
    "infra/tidemill/cloud": ("tidemill.cloud", {"tidemill.core"}),
    "infra/tidemill/cli": ("tidemill.cli", {"tidemill.core", "tidemill.local", "tidemill.cloud"}),
}

# what each package may import from outside, beyond the standard library
LIBRARIES: dict[str, set[str]] = {
    "layers/core/tidemill/core": {"urllib3", "numpy", "boto3", "botocore", "aws_lambda_powertools", "pyarrow", "PIL"},
    "layers/serving/tidemill/serving": {
        *{"numpy", "onnxruntime", "boto3", "botocore", "aws_lambda_powertools", "fastapi", "starlette", "pydantic"}
    },
    "layers/training/tidemill/training": {
        *{
            "numpy",
            "scipy",
            "boto3",
            "botocore",
            "jax",
            "jaxlib",
            "flax",
            "optax",
            "onnx",
            "onnxruntime",
            "safetensors",
            "jinja2",
        },
        *{"ml_dtypes", "matplotlib", "markupsafe", "PIL"},
    },
    "functions": {"aws_lambda_powertools", "mangum", "boto3"},
}

# the hot path: what predict.py may load before its first answer
HOT = ["session", "predictor", "explainer", "doubt", "feeds", "payloads", "bodies", "multipart", "intake", "inbox"]
HOT += ["signer", "pointers", "routing", "health", "bundles", "traffic", "door"]


def imports_of(path: Path) -> set[str]:
    """Every module a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the arrows"
            found.add(node.module or "")
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def sources(root: Path, folder: str) -> list[Path]:
    files = sorted((root / folder).rglob("*.py"))
    assert files, f"{folder} is empty: the picture names something that does not exist"
    return files


@pytest.mark.parametrize("folder", PICTURE)
def test_arrows_point_only_where_the_picture_says(root: Path, folder: str) -> None:
    own, allowed = PICTURE[folder]
    for path in sources(root, folder):
        for name in imports_of(path):
            if not name.startswith("tidemill."):
                continue
            package = ".".join(name.split(".")[:2])
            assert package == own or package in allowed, f"{path.relative_to(root)} imports {name}"


@pytest.mark.parametrize("folder", LIBRARIES)
def test_packages_import_only_the_libraries_of_their_layer(root: Path, folder: str) -> None:
    import sys

    for path in sources(root, folder):
        for name in imports_of(path):
            top = name.split(".")[0]
            if top in ("tidemill", "__future__") or top in sys.stdlib_module_names:
                continue
            assert top in LIBRARIES[folder], f"{path.relative_to(root)} imports {name}"


def test_pyarrow_stays_where_tables_are_read_and_written(root: Path) -> None:
    core = root / "layers/core/tidemill/core"
    for path in core.rglob("*.py"):
        if path.relative_to(core).parts[0] not in ("readers", "prepare", "scoring"):
            assert not any(name.split(".")[0] == "pyarrow" for name in imports_of(path)), path


def test_pillow_stays_where_pictures_are_read(root: Path) -> None:
    core = root / "layers/core/tidemill/core"
    users = {path for path in core.rglob("*.py") if any(name.split(".")[0] == "PIL" for name in imports_of(path))}
    assert {path.relative_to(core).as_posix() for path in users} == {
        *("readers/picture.py", "prepare/picture_cells.py", "features/pictures.py", "heatmap.py")
    }


@pytest.mark.parametrize("module", HOT)
def test_the_hot_path_imports_no_framework(root: Path, module: str) -> None:
    path = root / f"layers/serving/tidemill/serving/{module}.py"
    heavy = {"boto3", "botocore", "fastapi", "starlette", "pydantic", "mangum", "aws_lambda_powertools"}
    assert not {name.split(".")[0] for name in imports_of(path)} & heavy


def test_the_namespace_has_no_init(root: Path) -> None:
    assert not list(root.glob("layers/*/tidemill/__init__.py")) + list(root.glob("infra/tidemill/__init__.py"))


def test_no_file_is_two_files(root: Path) -> None:
    """Past 400 lines a file is probably two."""
    for folder in PICTURE:
        for path in sources(root, folder):
            assert len(path.read_text().splitlines()) <= 400, f"{path.relative_to(root)} is too long"


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "base", "manager", "misc"])
def test_no_module_has_a_name_that_says_nothing(root: Path, name: str) -> None:
    for folder in PICTURE:
        assert not [path for path in sources(root, folder) if path.stem == name]
