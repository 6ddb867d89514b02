"""Layers hold what their functions import and nothing else, build from their Makefiles, and fit Lambda."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.cloud import layers, probe, sizes

FUNCTIONS = {function.name: function for function in sizes.functions()}
ROOTS = [layers.ROOT / name for name in ("layers/core", "layers/serving", "functions")]


def provided(function: sizes.Function) -> set[str]:
    """The distributions a function finds on Lambda: its layers', and the runtime's."""
    found = set(layers.RUNTIME)
    for name in function.layers:
        layer = layers.LAYERS[name]
        found |= layers.packages(layer.folder / "requirements.txt") - layer.brought - layer.unneeded
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_reaches_only_what_its_layers_bring(name: str) -> None:
    """Lazy imports too. The slow test below proves the same with the real layers."""
    function = FUNCTIONS[name]
    roots = [root for root in ROOTS if root.name in (*function.layers, "functions")]
    ours, foreign = probe.reach(function.code / f"{name.lower()}.py", roots)
    assert ours, "the walk found nothing of our own"
    of_module = importlib.metadata.packages_distributions()
    for module in foreign:
        distributions = {item.lower().replace("_", "-") for item in of_module[module]}
        assert distributions & provided(function), f"{name} may import {module}, which none of {function.layers} brings"


def test_predict_needs_no_web_framework_and_no_tables() -> None:
    _, foreign = probe.reach(FUNCTIONS["Predict"].code / "predict.py", ROOTS)
    assert not foreign & {"fastapi", "starlette", "pydantic", "mangum", "pyarrow", "jax"}


def test_the_layers_of_the_template_are_the_layers_we_build() -> None:
    used = {name for function in FUNCTIONS.values() for name in function.layers}
    assert used == set(layers.LAYERS)
    assert {function.python for function in FUNCTIONS.values()} == {layers.PYTHON}
    assert all(function.layers[0] == "core" for function in FUNCTIONS.values()), "what others leave out, core brings"


def test_what_a_layer_leaves_out_is_pinned_in_it_and_equal_where_it_is_brought() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (layers.LAYERS[name].folder / "requirements.txt").read_text()
        return {item.lower(): version for item, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.M)}

    core = pins("core")
    for name, layer in layers.LAYERS.items():
        assert layer.brought | layer.unneeded <= set(pins(name)), f"{name} leaves out what it does not pin"
        for package in layer.brought - layers.RUNTIME:
            assert pins(name)[package] == core[package], f"{package} differs between core and {name}"


@pytest.mark.parametrize("name", layers.LAYERS)
def test_sam_finds_a_makefile_that_works_from_any_folder(name: str, tmp_path: Path) -> None:
    """`sam build` copies the layer elsewhere, goes there, and names the original Makefile."""
    makefile = layers.LAYERS[name].folder / "Makefile"
    command = [
        "make",
        "-n",
        "--makefile",
        str(makefile),
        f"build-{name.capitalize()}Layer",
        f"ARTIFACTS_DIR={tmp_path}",
    ]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert f'tidemill.cloud.layers {name} "{tmp_path}" --python {layers.PYTHON} --platform x86_64' in said


def test_a_lock_file_is_read_requirement_by_requirement(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        "# a word\nOne_Two==1.0 ; python_version > '3' \\\n    --hash=sha256:aa\nthree[x]==2 \\\n    --hash=sha256:bb\n"
    )
    assert layers.packages(lock) == {"one-two", "three"}


def test_trimming_takes_files_and_folders_and_leaves_the_rest(tmp_path: Path) -> None:
    kept = ["pyarrow/libarrow_python.so.2600", "pyarrow/lib.so", "pyarrow/parquet/core.py", "numpy/__init__.py"]
    gone = [
        "pyarrow/libarrow_python.so",
        "pyarrow/libarrow_python.so.2600.1.0",
        "pyarrow/include/arrow/api.h",
        "a/tests/t.py",
    ]
    gone += ["pyarrow/_flight.cpython-312.so", "numpy/f2py/x.py", "numpy/x.pyi", "bin/f2py"]
    for name in kept + gone:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    layers.trim(tmp_path, (*layers.COMMON, *layers.NUMPY, *layers.PYARROW))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_byte_code_is_made_only_by_the_python_it_is_for(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    assert not layers.compile_all(tmp_path, "3.99") and not list(tmp_path.rglob("*.pyc"))
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert layers.compile_all(tmp_path, running)
    (compiled,) = tmp_path.rglob("*.pyc")
    assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00", "checked by hash, and never checked"


def test_an_unknown_layer_and_a_broken_lock_are_refused_with_their_names(tmp_path: Path) -> None:
    with pytest.raises(layers.LayerFailed, match="'cores' is not a layer"):
        layers.build("cores", tmp_path)
    lock = tmp_path / "requirements.txt"
    lock.write_text("numpy==2.4.6\n")
    with pytest.raises(layers.LayerFailed, match=r"requirements\.txt"):
        layers.install(lock, tmp_path / "out")


def planted(folder: Path, handler: str, layer: str = "") -> sizes.Function:
    """A function of one file, with a layer that holds `rich_thing` if it is given."""
    (folder / "code").mkdir()
    (folder / "code" / "work.py").write_text(handler)
    python = folder / "build" / "core" / "python"
    python.mkdir(parents=True)
    if layer:
        (python / "rich_thing.py").write_text(layer)
    return sizes.Function("Work", "work.handler", folder / "code", ("core",), "3.11", ("TIDEMILL_TABLE",))


LAZY = "def handler(event, context):\n    import rich_thing\n    return rich_thing.answer\n"


def examine(function: sizes.Function, folder: Path) -> sizes.Finding:
    return sizes.examine(function, folder / "build", folder / "build", Path(sys.executable), True)


def test_a_lazy_import_that_no_layer_brings_is_found(tmp_path: Path) -> None:
    assert examine(planted(tmp_path, LAZY), tmp_path).wrong == [
        "rich_thing: ModuleNotFoundError: No module named 'rich_thing'"
    ]


def test_what_the_layer_brings_is_found_and_what_the_laptop_has_is_not(tmp_path: Path) -> None:
    function = planted(tmp_path, "import os\nassert os.environ['TIDEMILL_TABLE']\n" + LAZY, "import pytest\n")
    assert examine(function, tmp_path).wrong == ["rich_thing: ModuleNotFoundError: No module named 'pytest'"]


def test_a_handler_that_is_not_there_is_found(tmp_path: Path) -> None:
    assert examine(planted(tmp_path, "handler = 3\n"), tmp_path).wrong == ["work.handler is not a function"]


def test_imports_for_the_type_checker_or_with_a_way_out_are_not_demanded(tmp_path: Path) -> None:
    code = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import absent_one\n"
        "try:\n    import absent_two\nexcept ImportError:\n    absent_two = None\n"
        "def handler(event, context): ...\n"
    )
    assert examine(planted(tmp_path, code), tmp_path).wrong == []


def test_a_function_over_the_limit_and_an_unwanted_import_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = planted(tmp_path, "import fastapi\ndef handler(event, context): ...\n")
    (tmp_path / "build/core/python/fastapi.py").write_text("")
    (tmp_path / "build/core/python/big.bin").write_bytes(bytes(3 * sizes.MB))
    monkeypatch.setattr(sizes, "LIMIT_BYTES", 2 * sizes.MB)
    monkeypatch.setattr(sizes, "UNWANTED", {"work.handler": {"fastapi"}})
    finding = examine(function, tmp_path)
    assert finding.wrong == ["3 MB is over the limit of 2 MB", "fastapi is imported before the first answer"]
    assert "WRONG: 3 MB" in sizes.table([finding])


def test_two_layers_with_different_files_of_one_name_collide(tmp_path: Path) -> None:
    for layer, content in (("core", "1"), ("web", "2")):
        (tmp_path / layer / "python").mkdir(parents=True)
        (tmp_path / layer / "python" / "same.py").write_text("")
        (tmp_path / layer / "python" / "other.py").write_text(content)
    assert sizes.collisions(["core", "web"], tmp_path) == ["python/other.py is in core and in web"]


WORK = """
import sys; sys.path[:0] = sys.argv[2:]
import numpy as np, onnxruntime, pyarrow as pa, pyarrow.parquet as pq
table = pa.table({"a": [1.5, None], "b": ["左", "x"]})
pq.write_table(table, sys.argv[1] + ".parquet", compression="zstd")
assert pq.read_table(sys.argv[1] + ".parquet").equals(table)
session = onnxruntime.InferenceSession(sys.argv[1])
x = np.arange(6, dtype=np.float32).reshape(3, 2)
assert np.array_equal(session.run(None, {"x": x})[0], x @ x.T), "the runtime computes"
assert np.allclose(np.linalg.inv(np.eye(3) * 2), np.eye(3) / 2)
from tidemill.core.heatmap import heat_png, picture_png
from tidemill.core.readers.picture import read_picture
import io
from PIL import Image
pixels = np.arange(12 * 12 * 3, dtype=np.uint8).reshape(12, 12, 3)
for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
    assert read_picture(sink.getvalue()).format == kind
assert read_picture(heat_png(pixels, pixels[:, :, 0] - 70.0)).format == "PNG"
"""


@pytest.mark.slow
def test_every_function_fits_and_finds_its_imports_under_exactly_its_own_layers(tmp_path: Path) -> None:
    """Builds the real layers (from the package index, checked by hash) and works with what trimming left."""
    findings, ran = sizes.prove(tmp_path)
    assert {item.function.name: item.wrong for item in findings} == {name: [] for name in FUNCTIONS}
    assert max(item.size_bytes for item in findings) < 200 * sizes.MB, "room for growth"

    from onnx import TensorProto, helper

    nodes = [helper.make_node("Transpose", ["x"], ["t"]), helper.make_node("MatMul", ["x", "t"], ["y"])]
    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "n"])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [shape], [answer]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 10
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    folders = [str(tmp_path / f"layers-{ran}" / name / "python") for name in ("core", "tables", "pictures", "serving")]
    interpreter = layers.interpreter_of(ran)
    subprocess.run([str(interpreter), "-I", "-S", "-c", WORK, str(path), *folders], check=True)
