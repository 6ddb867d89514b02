"""Builds a Lambda layer: pinned wheels for the Lambda runtime, our own code, nothing that is not needed.

`sam build` calls this through layers/Makefile; `python -m tidemill.cloud.sizes` calls it to measure.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tidemill.core.errors import TidemillError

ROOT = Path(__file__).resolve().parents[3]
PYTHON = "3.12"
PLATFORM = "x86_64"
# Lambda's python3.12 runs on Amazon Linux 2023, whose glibc is 2.34: every wheel for an older one loads.
GLIBC = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux2014", "manylinux_2_17")
RUNTIME = frozenset({"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"})

# Of every layer: tests, type stubs and sources serve nobody at run time.
COMMON = ("**/tests", "**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.pxi", "**/*.h", "**/*.hpp", "bin", "**/py.typed")
NUMPY = ("numpy/f2py", "numpy/distutils", "numpy/_pyinstaller", "numpy/doc", "numpy/**/*.a", "numpy/_core/include")
ONNXRUNTIME = (
    "onnxruntime/capi/libonnxruntime.so.*",  # 29 MB again: the Python module has it linked in
    "onnxruntime/transformers",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/datasets",
    "onnxruntime/backend",
)
PILLOW = (  # formats, fonts, colour profiles and screens that nothing of ours touches
    "PIL/_avif.*.so",
    "PIL/_imagingft.*.so",
    "PIL/_imagingcms.*.so",
    "PIL/_imagingtk.*.so",
    "pillow.libs/libavif-*",
    "pillow.libs/libfreetype-*",
    "pillow.libs/libharfbuzz-*",
    "pillow.libs/liblcms2-*",
    "pillow.libs/libpng16-*",
    "pillow.libs/libbrotli*",
)
PYARROW = (
    "pyarrow/include",
    "pyarrow/src",
    "pyarrow/libarrow_flight.so*",
    "pyarrow/libarrow_python_flight.so*",
    "pyarrow/_flight.*.so",
    "pyarrow/libarrow_s3.so*",  # boto3 reads S3
    "pyarrow/_s3fs.*.so",
    "pyarrow/_pyarrow_cpp_tests.*.so",
    # Each of these is there three times under three names; the loader asks for libNAME.so.NUMBER only.
    "pyarrow/libarrow_python*.so",
    "pyarrow/libarrow_python*.so.*.*.*",
)


@dataclass(frozen=True)
class Layer:
    """What makes a layer: the folder of its code and pins, the packages others bring, the files nobody needs."""

    name: str
    brought: frozenset[str] = frozenset()  # by the Lambda runtime or by the core layer
    unneeded: frozenset[str] = frozenset()  # required by a package's metadata, not by what is imported
    trim: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """layers/NAME."""
        return ROOT / "layers" / self.name


LAYERS = {
    layer.name: layer
    for layer in (
        Layer("core", brought=RUNTIME, trim=NUMPY),
        Layer("tables", trim=PYARROW),
        Layer("pictures", trim=PILLOW),
        Layer(
            "serving",
            brought=frozenset({"numpy"}),
            unneeded=frozenset({"flatbuffers", "packaging", "protobuf"}),
            trim=ONNXRUNTIME,
        ),
        Layer("web", brought=frozenset({"typing-extensions"})),
    )
}


class LayerFailed(TidemillError):
    """A layer that cannot be built."""

    code, title = "LAYER_FAILED", "The layer cannot be built"


def build(name: str, out: Path, *, python: str = PYTHON, platform: str = PLATFORM) -> bool:
    """Make OUT/python from layers/NAME; true if it was compiled to byte code, which takes that very Python."""
    if name not in LAYERS:
        raise LayerFailed(f"{name!r} is not a layer.", remedy=f"Layers are {', '.join(LAYERS)}.")
    layer, target = LAYERS[name], out / "python"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    install(layer.folder / "requirements.txt", target, layer.brought | layer.unneeded, python=python, platform=platform)
    if (layer.folder / "tidemill").is_dir():
        shutil.copytree(layer.folder / "tidemill", target / "tidemill", ignore=shutil.ignore_patterns("__pycache__"))
    trim(target, (*COMMON, *layer.trim))
    return compile_all(target, python)


def install(
    lock: Path, target: Path, without: frozenset[str] = frozenset(), *, python: str = PYTHON, platform: str = PLATFORM
) -> None:
    """Install a lock file's wheels, checked by hash, for a Python and a platform that need not be this machine's."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text("\n".join(block for block in _blocks(lock) if _package(block) not in without) + "\n")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--require-hashes"]
        command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
        command += [part for tag in GLIBC for part in ("--platform", f"{tag}_{platform}")]
        command += ["--disable-pip-version-check", "--target", str(target), "--requirement", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["pip gave no reason"]
        raise LayerFailed(f"pip could not install {lock}: {why[0]}", remedy="Check the pins and the package index.")


def _blocks(lock: Path) -> Iterator[str]:
    """The requirements of a lock file, each with its hashes."""
    block = ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line[:1] not in ("", " ", "#"):
            if block:
                yield block
            block = line
        elif line.startswith(" "):
            block += "\n" + line
    if block:
        yield block


def packages(lock: Path) -> frozenset[str]:
    """The packages a lock file pins."""
    return frozenset(map(_package, _blocks(lock)))


def _package(block: str) -> str:
    return re.split(r"[=\[ ;]", block, maxsplit=1)[0].lower().replace("_", "-")


def trim(target: Path, patterns: tuple[str, ...]) -> None:
    """Delete what the patterns match."""
    for pattern in patterns:
        for path in list(target.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.exists() or path.is_symlink():
                path.unlink()


def compile_all(target: Path, python: str) -> bool:
    """Compile with the layer's own Python if it is here. Byte code halves the CPU time of a cold start.

    The hash kind is right for Lambda: zip files change the modification times that the usual kind compares, and
    unchecked hashes are never compared with the source at all.
    """
    interpreter = interpreter_of(python)
    if interpreter is None:
        return False
    command = [str(interpreter), "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    # A module for a Python newer than this one may not compile; it would not be imported either.
    subprocess.run([*command, "-s", str(target), "-p", "/opt/python", str(target)], check=False, capture_output=True)
    return True


def interpreter_of(python: str) -> Path | None:
    """An interpreter of that version on this machine: the running one, one on the path, or one of pyenv's."""
    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        return Path(sys.executable)
    on_path = shutil.which(f"python{python}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [Path(on_path)] if on_path else []
    found += sorted(pyenv.glob(f"{python}.*/bin/python{python}"))
    return next((path for path in found if _runs(path, python)), None)


def _runs(interpreter: Path, python: str) -> bool:
    """Whether it is what its name says; the shims of version managers may not be."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [str(interpreter), "-I", "-c", code], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == python


def main(arguments: list[str] | None = None) -> int:
    """Build one layer."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.cloud.layers", description=__doc__)
    parser.add_argument("layer", choices=list(LAYERS))
    parser.add_argument("out", type=Path, help="the folder that gets python/")
    parser.add_argument("--python", default=PYTHON, help="the Lambda runtime's Python (default: %(default)s)")
    parser.add_argument("--platform", default=PLATFORM, choices=["x86_64", "aarch64"])
    options = parser.parse_args(arguments)
    try:
        compiled = build(options.layer, options.out, python=options.python, platform=options.platform)
    except TidemillError as error:
        print(f"{error.message} {error.remedy}", file=sys.stderr)
        return 1
    if not compiled:
        print(f"No Python {options.python} here: the layer {options.layer} has no byte code and starts more slowly.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
