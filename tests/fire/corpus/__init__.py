"""The corpus of bad inputs: made when it is needed, the same each time, with what each file must end in.

`make(folder)` writes the files and a manifest.json beside them. Names say the kind; the folder is the modality.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.fire.corpus import archives, columnar, delimited, pictures, requests, values, workbooks
from tests.fire.corpus.case import Made

PARTS = (delimited, values, columnar, workbooks, archives, pictures, requests)


def cases() -> Iterator[Made]:
    """Every file of the corpus."""
    for part in PARTS:
        yield from part.cases()


def make(folder: Path) -> Path:
    """Write the corpus into a folder; returns the folder."""
    listed = []
    for made in cases():
        path = folder / made.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.content)
        listed.append({"name": made.name, "modality": made.modality, "expected": made.expected, "reason": made.reason})
    (folder / "manifest.json").write_text(json.dumps(listed, indent=1))
    return folder
