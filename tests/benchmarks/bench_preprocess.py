"""What Preprocess needs for many pictures and many short texts: CPU, and memory beside what its function has.

    python tests/benchmarks/bench_preprocess.py [--print]

Uploads are made up: grey pictures of 28 x 28, photos of 64 x 64 (JPEG, smooth noise), and texts of about 12 words.
Each goes through `prepare`, which the function calls, in a process of its own, at a quarter, half and all of its size.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import resource
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from results import ROOT, record

PICTURES, TEXTS = 20_000, 100_000
WORDS = 20_000  # of the made-up language
CLASSES = ("no", "yes")


def pictures(count: int, side: int, channels: int) -> Iterator[tuple[str, bytes]]:
    """Members of a zip: a folder for each class, a band of light that is higher in one of them."""
    rng, kind = np.random.default_rng(0), "PNG" if channels == 1 else "JPEG"
    for at in range(count):
        coarse = Image.fromarray(rng.integers(0, 160, (6, 6, 3), np.uint8)).resize((side, side))
        pixels = np.array(coarse)[..., :channels]
        pixels[(at % 2) * side // 2 :][: side // 2] += 90
        file = io.BytesIO()
        Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(file, kind)
        yield f"{CLASSES[at % 2]}/{at}.{kind.lower()}", file.getvalue()


def texts(count: int) -> Iterator[str]:
    """Lines of a table: a text and its class, of which one word in twelve speaks."""
    rng = np.random.default_rng(0)
    for at in range(count):
        words = rng.zipf(1.3, 12) % WORDS
        yield f"{' '.join(f'w{word}' for word in words)} {('dull', 'fine')[at % 2]},{CLASSES[at % 2]}\n"


def upload(kind: str, count: int, folder: Path) -> Path:
    """A file as somebody would drop it."""
    if kind == "texts":
        path = folder / "texts.csv"
        path.write_text("text,label\n" + "".join(texts(count)))
        return path
    path = folder / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in pictures(count, *((28, 1) if kind == "grey" else (64, 3))):
            archive.writestr(name, data)
    return path


def prepared(path: Path) -> None:
    """In the process that is measured: prepare a file, print what it took."""
    from tidemill.core.prepare import prepare
    from tidemill.core.spec import Spec

    with tempfile.TemporaryDirectory() as folder:
        rows = prepare(path, path.name, Spec(), Path(folder) / "dataset", model="bench").rows
    used = resource.getrusage(resource.RUSAGE_SELF)
    took = {"rows": rows["used"], "cpu_s": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}
    print(json.dumps(took))


def memory() -> int:
    """MiB of the function, as template.yaml gives them."""
    (size,) = re.findall(r"^  Preprocess:.*?MemorySize: (\d+)", (ROOT / "template.yaml").read_text(), flags=re.M | re.S)
    return int(size)


def main() -> None:
    """Measure, print and append the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="print the table without adding it to RESULTS.md")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.prepare:
        prepared(wanted.prepare)
        return
    rows: list[tuple[object, ...]] = []
    for kind, name, most in (
        ("grey", "pictures, 28 x 28 grey", PICTURES),
        ("photos", "pictures, 64 x 64 JPEG", PICTURES),
        ("texts", "texts, 13 words", TEXTS),
    ):
        for count in (most // 4, most // 2, most):
            with tempfile.TemporaryDirectory() as folder:
                path = upload(kind, count, Path(folder))
                again = [sys.executable, __file__, "--prepare", str(path)]
                done = subprocess.run(again, capture_output=True, text=True, check=True)
                took, size = json.loads(done.stdout), path.stat().st_size
            if took["rows"] != count:
                raise SystemExit(f"{took['rows']} of {count} rows were used.")
            each = f"{1000 * took['cpu_s'] / count:.2f}"
            rows.append((name, f"{count:,}", f"{size / 1e6:.1f}", f"{took['cpu_s']:.1f}", each, f"{took['mib']:.0f}"))
            print(*rows[-1], flush=True)
    record(
        "Many pictures and many texts through Preprocess",
        ("upload", "rows", "MB", "CPU s", "CPU ms a row", "RSS, MiB"),
        rows,
        notes=f"Start of Python and imports counted in. The function has {memory():,} MiB.",
        keep=not wanted.print,
    )


if __name__ == "__main__":
    main()
