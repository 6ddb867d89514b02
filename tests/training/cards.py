"""All that write_card takes for made-up models of pictures and of texts, beside that for tables in test_card."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from tests.core.pictures import drawn, encoded
from tests.training.test_card import BIDI, HOSTILE, inputs

from tidemill.core import features
from tidemill.core.spec import Spec

ROWS = {"read": 602, "used": 600, "quarantined": 2, "train": 400, "validation": 100, "test": 100}
ARABIC = "هذا الفندق نظيف جدا\u200c وجميل"
TEXTS = {
    "chinese": "房间不干净，服务很差",
    "right to left": ARABIC,
    "hostile": f"{HOSTILE} & {BIDI}\r\n\tthe end</p>",
    "plain": "A fine film, a very fine film; but the end is poor.",
}
MARKS = {
    "chinese": [[0, 2, 0.1], [2, 3, -0.2], [3, 5, -0.05], [6, 8, 0.01], [9, 10, -0.4]],
    "right to left": [[0, 3, 0.2], [11, 15, 0.3]],
    "hostile": [[0, 7, 0.2], [8, 14, -0.1]],
    "plain": [[2, 6, 0.25], [7, 11, 0.02], [20, 24, 0.25], [46, 50, -0.5]],
}


def image(seed: int) -> str:
    """A picture as a page holds it in itself."""
    return "data:image/png;base64," + base64.b64encode(encoded(drawn(seed))).decode()


def answered(row: int, labels: list[str], right: bool = True) -> dict[str, Any]:
    """The facts of one answer."""
    told = {"row": row, "actual": labels[0], "answer": labels[0 if right else 1], "target": labels[0 if right else 1]}
    return {**told, "baseline": 0.3, "prediction": 0.81, "probability": 0.81, "of_actual": 0.81 if right else 0.02}


def of_pictures() -> dict[str, Any]:
    """A model of small colour pictures in three classes, one of which has a hostile name."""
    given = inputs("multiclass")
    labels, files = given["schema"]["labels"], [f"{HOSTILE}/{at}.png" for at in range(3)]
    columns = {"picture": np.array([encoded(drawn(at)) for at in range(4)], dtype=object)}
    schema = {**given["schema"], "modality": "picture", "target": "label", "rows": ROWS, "columns": _picture(labels)}
    shown = [{**answered(at, labels), "picture": image(at), "heat": image(at + 50)} for at in range(3)]
    wrong = [{**answered(9, labels, False), "picture": image(9), "heat": image(59)}]
    sizes = {"min": 20, "median": 24, "max": 96}
    counted = {"read": 602, "height": sizes, "width": sizes, "formats": {"JPEG": 2, "PNG": 600}, "tiny": 1}
    return {
        **given,
        "schema": schema,
        "profile": {
            "modality": "picture",
            "source": {"format": "zip", "members": 602},
            "target": {"name": "label", "how": "Folders name the classes."},
            "split": {"method": "content", "how": "Pictures are split by hash."},
            "pictures": {**counted, "modes": {"RGB": 500, "L": 102}, "grey": 102, "stored_bytes": 9},
            "classes": [{"label": label, "rows": 200, "examples": files} for label in labels],
            "columns": {},
            "warnings": [],
        },
        "program": features.fit(columns, schema, Spec()),
        "importance": [],
        "examples": {"request": {"picture": "aGFsbG8="}, "explanations": shown, "mistakes": wrong},
    }


def _picture(labels: list[str]) -> list[dict[str, Any]]:
    return [
        {"name": "picture", "kind": "picture", "role": "feature", "reason": None, "missing": 0, "distinct": 598},
        {"name": "file", "kind": "category", "role": "id", "reason": "identifier", "missing": 0},
        {"name": "label", "kind": "category", "role": "target", "reason": None, "distinct": 3, "levels": labels},
    ]


def of_texts(task: str = "binary") -> dict[str, Any]:
    """A model of texts in several writings."""
    given = inputs(task)
    labels, name = given["schema"]["labels"], "text"
    described = {"name": name, "kind": "text", "role": "feature", "reason": None, "missing": 0, "distinct": 590}
    length = {"characters": {"min": 1, "max": 3000, "mean": 88.5}, "cjk_share": 0.25}
    columns = [{**described, **length}, next(c for c in given["schema"]["columns"] if c["role"] == "target")]
    schema = {**given["schema"], "modality": "text", "rows": ROWS, "columns": columns}
    program = features.fit({name: np.array([*TEXTS.values()] * 2, dtype=object)}, schema, Spec())
    shown = [_read(key, at, labels) for at, key in enumerate(TEXTS)]
    wrong = [{**_read("plain", 77, labels, False), "part": [100, 151, 900]}]
    target = {"kind": "category", "role": "target", "top": [{"value": label, "rows": 300} for label in labels]}
    counted = {
        **length,
        "kind": "text",
        "distinct": 590,
        "invisible": 3,
        "lengths": {"up_to": [1, 2, 4, 8], "counts": [0, 9, 0, 591]},
    }
    return {
        **given,
        "schema": schema,
        "profile": {
            **given["profile"],
            "modality": "text",
            "columns": {name: counted, schema["target"]: target if labels else {"kind": "number"}},
        },
        "program": program,
        "importance": [],
        "examples": {"request": {name: TEXTS["hostile"]}, "explanations": shown, "mistakes": wrong},
    }


def _read(key: str, row: int, labels: list[str], right: bool = True) -> dict[str, Any]:
    """One text with its answer."""
    numbers = {"row": row, "actual": 2.5, "answer": 1.5, "target": "収", "baseline": 2.0, "prediction": 1.5}
    told = answered(row, labels, right) if labels else {**numbers, "probability": None}
    return {**told, "text": TEXTS[key], "marks": MARKS[key], "rest": -0.03}
