"""What is kept of a column of texts: how long they are, in which writing, and what in them cannot be seen."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidemill.core.prepare.hashing import Sketch, hash_texts
from tidemill.core.prepare.measure import Moments, Tie, rounded

_LONGEST = 16  # doublings from one character to the longest text
_CJK = re.compile("[\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# Tag characters spell text that nobody sees; they are meant in flags, behind a black one. So do characters of no width
# within a word, and those that turn the direction of what follows.
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007f]+")
_TAGS = re.compile("[\U000e0000-\U000e007f]")
_SPLIT = re.compile("[A-Za-z][\u200b\u2060-\u2064\ufeff]+[A-Za-z]")
_TURNED = re.compile("[\u202d\u202e]")


def hides(text: str) -> bool:
    """Whether a text says something to a machine that a person does not see."""
    if text.isascii():
        return False
    if _TAGS.search(text) and _TAGS.search(_FLAG.sub("", text)):
        return True
    return bool(_SPLIT.search(text) or _TURNED.search(text))


def is_cjk(text: str) -> bool:
    """Whether a text is written in Chinese or Japanese characters for the most part."""
    head = text[:1_000]
    return not head.isascii() and 3 * len(_CJK.findall(head)) > len(head)


@dataclass
class TextMeasure:
    """What is kept of a column of texts; the texts themselves are not."""

    characters: Moments = field(default_factory=Moments)
    sketch: Sketch = field(default_factory=Sketch)
    tie: Tie = field(default_factory=Tie)  # a text that tells the class is what is wanted
    doublings: np.ndarray = field(default_factory=lambda: np.zeros(_LONGEST + 1, np.int64))
    cjk: int = 0
    hiding: int = 0

    def add(self, codes: np.ndarray, texts: list[str]) -> None:
        """Take in one chunk of codes into texts."""
        often = np.bincount(codes, minlength=len(texts))
        used = np.flatnonzero(often)
        lengths = np.fromiter((len(texts[place]) for place in used), np.int64, len(used))
        self.characters.add(np.repeat(lengths, often[used]).astype(np.float64))
        bins = np.minimum(np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64), _LONGEST)
        self.doublings += np.bincount(bins, often[used], minlength=_LONGEST + 1).astype(np.int64)
        self.sketch.add(hash_texts([texts[place] for place in used]))
        self.cjk += int(sum(often[place] for place in used if is_cjk(texts[place])))
        self.hiding += int(sum(often[place] for place in used if hides(texts[place])))

    def schema(self) -> dict[str, Any]:
        """The schema's entries."""
        found = self.characters
        return {
            "missing": 0,
            "distinct": self.sketch.count(),
            "characters": {"min": int(found.least), "max": int(found.greatest), "mean": rounded(found.mean)}
            if found.n
            else {},
            "cjk_share": rounded(self.cjk / found.n) if found.n else 0.0,
        }

    def profile(self) -> dict[str, Any]:
        """The profile's entries: the schema's, and how many texts have at most so many characters."""
        last = int(np.flatnonzero(self.doublings)[-1]) if self.doublings.any() else 0
        edges = [1 << doubling for doubling in range(last + 1)]
        return {
            **self.schema(),
            "invisible": self.hiding,
            "lengths": {"up_to": edges, "counts": self.doublings[: last + 1].tolist()},
        }
