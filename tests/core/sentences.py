"""Small learnable sets of texts, English and Chinese, awkward texts, and pieces that their words are cut into."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidemill.core import features
from tidemill.core.features.text_pieces import END, PADDING, START, UNKNOWN, Pieces
from tidemill.core.features.texts import TextProgram
from tidemill.core.spec import Spec

SCHEMA = {
    "modality": "text",
    "columns": [{"name": "t", "role": "feature", "kind": "text"}, {"name": "y", "role": "target", "kind": "category"}],
}
SAID = (
    ("lovely bright kind charming", "很好喜欢"),
    ("awful dull rude broken", "糟糕失望"),
    ("late slow far away", "路远难找"),
)
BETWEEN = ["the", "a", "room", "was", "and", "we", "it", "had", "very", "there", "some", "that"]
BETWEEN_CHINESE = "我们的房间在这里有一个是不"
AWKWARD = ["", "zzz qqq", "😀😀", "！！", "lovely", "很", "a " * 700, "ｌｏｖｅｌｙ\u200b 很好", "x" * 300]


def texts(classes: int, rows: int = 240, seed: int = 0) -> tuple[list[str], Any]:
    """Sentences that use the words of their class, every third one Chinese; and the classes."""
    rng = np.random.default_rng(seed)
    y_n = rng.integers(0, classes, rows)
    made = []
    for row, y in enumerate(y_n):
        english, chinese = SAID[y]
        if row % 3 == 0:
            letters = [*rng.choice(list(BETWEEN_CHINESE), 6), *rng.choice(list(chinese), 3)]
            made.append("".join(rng.permutation(letters)) + "。")
        else:
            words = [*rng.choice(BETWEEN, rng.integers(3, 12)), *rng.choice(english.split(), 2)]
            made.append(" ".join(rng.permutation(words)) + ".")
    return made, y_n


def column(rows: list[str]) -> dict[str, Any]:
    """Texts as a column."""
    return {"t": np.array([*rows, None], dtype=object)[:-1]}


def program_of(rows: list[str]) -> TextProgram:
    """The program fitted on texts."""
    program = features.fit(column(rows), SCHEMA, Spec())
    assert isinstance(program, TextProgram)
    return program


def vocabulary() -> Pieces:
    """Pieces of the words above: whole English words but for some endings, Chinese characters, letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    whole = sorted({word for english, _ in SAID for word in english.split()} | set(BETWEEN))
    chinese = sorted({*BETWEEN_CHINESE, *"".join(chinese for _, chinese in SAID)})
    endings = [f"##{letter}" for letter in letters]
    kept = [word for word in whole if word != "charming" and len(word) > 1]
    return Pieces((PADDING, UNKNOWN, START, END, *kept, "charm", "##ing", *letters, *endings, *chinese, ".", "。"))
