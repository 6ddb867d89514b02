"""Texts as the pieces of words that a BERT network was trained on: WordPiece, uncased (arXiv 1609.08144, 1810.04805).

The vocabulary comes with the network's weights, so texts are read as they were there: not in NFKC, addresses whole.
A word is cut into the longest pieces of the vocabulary from the left; one that cannot be is unknown as a whole.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tidemill.core.errors import BadBackbone, BadBundle
from tidemill.core.features.kinds import Array
from tidemill.core.limits import limit

VOCABULARY = "vocab.txt"  # beside the weights
MOST_PIECES = 128  # of a text, its start and its end included: what follows is not read
LONGEST_WORD = 100  # characters; a longer word is unknown
PADDING, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
LATER = "##"  # what a piece begins with that does not begin a word
_REMEMBERED = 100_000  # words whose pieces are kept
_IDEOGRAPHS = (
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
    *((0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0x2F800, 0x2FA1F)),
)  # the blocks that BERT reads one by one
_SIGNS = frozenset("$+<=>^`|~")  # of ASCII, and no punctuation to Unicode, but to BERT


class _Folded(dict[int, str | None]):
    """What becomes of each code point, remembered: letters without case and accents, signs and ideographs apart."""

    def __missing__(self, code: int) -> str | None:
        self[code] = _fold(chr(code)) or None
        return self[code]


def _fold(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\t\n\r" or category[0] == "Z":
        return " "
    if category[0] == "C" or character == "\ufffd":
        return ""
    plain = "".join(c for c in unicodedata.normalize("NFD", character) if unicodedata.category(c) != "Mn").lower()
    if any(low <= ord(character) <= high for low, high in _IDEOGRAPHS):
        return f" {plain} "
    return "".join(f" {c} " if c in _SIGNS or unicodedata.category(c)[0] == "P" else c for c in plain)


_folded = _Folded()


@dataclass(frozen=True, eq=False)
class Pieces:
    """A vocabulary, in the order of the network's embeddings; the first is padding."""

    vocabulary: tuple[str, ...]

    def __post_init__(self) -> None:
        missing = {UNKNOWN, START, END} - set(self.vocabulary)
        if missing or not self.vocabulary or self.vocabulary[0] != PADDING:
            what = f"begins with {self.vocabulary[:1]}, not with {PADDING}" if not missing else f"has no {min(missing)}"
            raise BadBackbone(
                f"{VOCABULARY} {what}.",
                remedy="Give the file that belongs to the weights: one piece a line, as BERT has it.",
            )

    @classmethod
    def load(cls, path: Path) -> Pieces:
        """Read a vocab.txt; raises BadBackbone where it is none."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadBackbone(f"{path.name} cannot be read: {error}.", remedy="Give it in UTF-8.") from error
        return cls(tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")))

    @classmethod
    def from_array(cls, array: Array) -> Pieces:
        """The vocabulary that `array` gave; raises BadBundle."""
        try:
            return cls(tuple(array.tobytes().decode("utf-8").split("\n")))
        except (UnicodeDecodeError, BadBackbone) as error:
            raise BadBundle(f"The pieces in features.npz cannot be read: {error}.", remedy="Train again.") from error

    def array(self) -> Array:
        """The vocabulary as bytes, a line each."""
        return np.frombuffer("\n".join(self.vocabulary).encode("utf-8"), np.uint8)

    def ids(self, text: str) -> list[int]:
        """The start, the first pieces of a text, the end: MOST_PIECES at most."""
        found = [self._place[START]]
        for word in text[: limit("text")].translate(_folded).split():
            found += self._of_word(word)
            if len(found) >= MOST_PIECES - 1:
                break
        return [*found[: MOST_PIECES - 1], self._place[END]]

    def places(self, text: str) -> list[tuple[int, int]]:
        """From where to where in the text each of its pieces stands; the start and the end stand at no characters."""
        found = [(0, 0)]
        for word, start_c, end_c in _words(text[: limit("text")]):
            first = 0
            for size in self._sizes(word):
                found.append((start_c[first], end_c[first + size - 1]))
                first += size
            if len(found) >= MOST_PIECES - 1:
                break
        return [*found[: MOST_PIECES - 1], (0, 0)]

    @cached_property
    def _place(self) -> dict[str, int]:
        return {piece: at for at, piece in enumerate(self.vocabulary)}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.vocabulary))

    @cached_property
    def _seen(self) -> dict[str, tuple[int, ...]]:
        return {}

    def _of_word(self, word: str) -> tuple[int, ...]:
        found = self._seen.get(word)
        if found is None:
            found = self._cut(word)
            if len(self._seen) < _REMEMBERED:
                self._seen[word] = found
        return found

    def _cut(self, word: str) -> tuple[int, ...]:
        unknown, found, start = (self._place[UNKNOWN],), [], 0
        if len(word) > LONGEST_WORD:
            return unknown
        while start < len(word):
            before = LATER if start else ""
            ends = range(min(len(word), start + self._longest), start, -1)
            end = next((end for end in ends if before + word[start:end] in self._place), 0)
            if not end:
                return unknown
            found.append(self._place[before + word[start:end]])
            start = end
        return tuple(found)

    def _sizes(self, word: str) -> list[int]:
        """How many characters each piece of a word has."""
        ids = self._of_word(word)
        if ids == (self._place[UNKNOWN],):
            return [len(word)]
        return [len(self.vocabulary[piece]) - len(LATER) * (at > 0) for at, piece in enumerate(ids)]


def _words(text: str) -> Iterator[tuple[str, list[int], list[int]]]:
    """The words of a text as `ids` finds them, and from where to where each of their characters comes."""
    letters: list[str] = []
    start_c: list[int] = []
    end_c: list[int] = []
    for at, character in enumerate(f"{text} "):
        folded = _folded[ord(character)] or ""
        if not folded and letters:
            end_c[-1] = at + 1  # an accent belongs to its letter
        for letter in folded:
            if letter != " ":
                letters.append(letter)
                start_c.append(at)
                end_c.append(at + 1)
            elif letters:
                yield "".join(letters), start_c, end_c
                letters, start_c, end_c = [], [], []
