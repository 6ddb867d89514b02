"""The fitted text program and its replay: texts in, bags of n-grams and sequences of tokens out, NumPy alone.

Axes: n texts, v n-grams of the vocabulary, t tokens of the vocabulary, g n-grams found.

Every text is worked on by itself, so a batch of n texts gives exactly what n batches of one text give, but for padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tidemill.core.errors import BadBundle, SchemaMismatch
from tidemill.core.features import cells
from tidemill.core.features.kinds import Array
from tidemill.core.features.text_bags import Ragged, Texts, bags, joined, sequences
from tidemill.core.features.text_cleaning import clean, clean_with_places, plain
from tidemill.core.features.text_grams import batches, grams
from tidemill.core.features.text_lookup import Lookup
from tidemill.core.features.text_pieces import Pieces

FORMAT = 1
TEXT = "text"
NONE = np.empty(0, np.int64)
UNKNOWN = 1  # the id of a token that training did not see often enough


class Spans(NamedTuple):
    """Where the known n-grams and all tokens of one text stand: from start to end in the text as it was given.

    So do its pieces, where a network reads them: one for each id of `piece_nt`, the start and the end from 0 to 0.
    """

    slot_g: Array
    start_g: Array
    end_g: Array
    id_t: Array
    start_t: Array
    end_t: Array
    start_p: Array = NONE
    end_p: Array = NONE


@dataclass(frozen=True, eq=False)
class TextProgram:
    """A fitted text program: the sorted hashes of what is known, what each weighs, and the ways to replay it."""

    modality: ClassVar[str] = TEXT
    column: str
    hash_v: Array
    idf_v: Array
    hash_t: Array
    id_t: Array
    ignored: tuple[str, ...] = ()  # the target, dropped columns: welcome in a row, never read
    documents: int = 0
    pieces: Pieces | None = None  # of words, for a network that was trained elsewhere

    @property
    def columns(self) -> tuple[str, ...]:
        """The one input column."""
        return (self.column,)

    @property
    def width(self) -> int:
        """How many slots a bag may name, padding included."""
        return len(self.hash_v) + 1

    @property
    def words(self) -> int:
        """How many ids a sequence may name, padding and unknown included."""
        return len(self.hash_t) + 2

    @property
    def shape(self) -> tuple[int, int]:
        """What a network must know of its input: how many slots a bag, and how many ids a sequence may name."""
        return self.width, self.words

    def apply(self, columns: Mapping[str, Array]) -> Texts:
        """The padded bags and sequences of a column of texts; of many, the longest makes all wide: see `ragged`."""
        return self.ragged(columns).padded()

    def ragged(self, columns: Mapping[str, Array]) -> Ragged:
        """The bags and sequences of a column of texts, not padded, so that many take little memory.

        `padded` of a choice of them gives what a model reads.
        """
        cells.check_names(columns.keys(), self.columns)
        texts = columns[self.column].tolist()
        cleaned = [clean(text) for text in texts]
        return joined([self._batch(cleaned[at], texts[at]) for at in batches(cleaned)] or [self._batch([], [])])

    def read_rows(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
        """Rows as a request brings them; raises SchemaMismatch naming the row, the column and the value."""
        texts = np.empty(len(rows), dtype=object)
        for index, row in enumerate(rows):
            cells.check_names(row.keys(), self.columns, self.ignored, row=index)
            texts[index] = _text(row[self.column], self.column, index)
        return {self.column: texts}

    def x_of_rows(self, rows: Sequence[Mapping[str, Any]]) -> Texts:
        """Exactly apply(read_rows(rows))."""
        return self.apply(self.read_rows(rows))

    def spans(self, text: str) -> Spans:
        """Where what is known stands in the original text, for showing it."""
        cleaned, places = clean_with_places(text)
        found = grams([cleaned])
        slot_g = self._slots(found.hash_g)
        known = np.flatnonzero(slot_g)
        at = found.marks.place_c - 1  # a space was put before the text
        bounds = np.array(places, np.int64).reshape(-1, 2)

        def original(start: Array, end: Array) -> tuple[Array, Array]:
            return bounds[at[start], 0], bounds[at[end - 1], 1]

        pieces = self.pieces.places(text) if self.pieces else []
        return Spans(
            slot_g[known],
            *original(found.start_g[known], found.end_g[known]),
            self._ids(found.hash_t),
            *original(found.start_t, found.end_t),
            *np.array(pieces, np.int64).reshape(-1, 2).T,
        )

    def to_json(self) -> dict[str, Any]:
        """What features.json holds; the rest is `arrays`."""
        return {
            "format": FORMAT,
            "modality": TEXT,
            "column": self.column,
            "ignored": list(self.ignored),
            "documents": self.documents,
            "slots": self.width,
            "words": self.words,
            "pieces": len(self.pieces.vocabulary) if self.pieces else 0,
        }

    def arrays(self) -> dict[str, Array]:
        """What features.npz holds."""
        read = {"hash_v": self.hash_v, "idf_v": self.idf_v, "hash_t": self.hash_t, "id_t": self.id_t}
        return {**read, "pieces": self.pieces.array()} if self.pieces else read

    @classmethod
    def from_json(cls, value: dict[str, Any], arrays: Mapping[str, Array]) -> TextProgram:
        """The program that `to_json` and `arrays` wrote; raises BadBundle for anything else."""
        try:
            if (value["format"], value["modality"]) != (FORMAT, TEXT):
                raise BadBundle(
                    f"features.json is of format {value['format']!r} for {value['modality']!r}; this reads"
                    f" {FORMAT} for {TEXT!r}.",
                    remedy="Deploy the version that wrote it, or train again.",
                )
            hash_v, idf_v, hash_t, id_t = (arrays[name] for name in ("hash_v", "idf_v", "hash_t", "id_t"))
            known, ignored, documents = (hash_v, idf_v, hash_t, id_t), tuple(value["ignored"]), int(value["documents"])
            count = int(value.get("pieces", 0))
            pieces = Pieces.from_array(arrays["pieces"]) if count else None
            program = cls(value["column"], *known, ignored, documents, pieces)
            kinds = tuple(array.dtype.kind for array in known)
            fits = (program.width, program.words, kinds) == (value["slots"], value["words"], ("u", "f", "u", "i"))
            fits &= count == (len(pieces.vocabulary) if pieces else 0)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BadBundle(f"features.json cannot be read: {error!r}.", remedy="Train again.") from error
        if not fits or len(idf_v) != len(hash_v) or len(id_t) != len(hash_t) or not len(hash_v):
            raise BadBundle("features.json and features.npz do not fit each other.", remedy="Train again.")
        return program

    def reading(self, pieces: Pieces) -> TextProgram:
        """The same program for a network that reads these pieces."""
        return replace(self, pieces=pieces)

    def _batch(self, cleaned: list[str], texts: list[str]) -> Ragged:
        found = grams(cleaned)
        slot_g = self._slots(found.hash_g)
        known = np.flatnonzero(slot_g)
        ends, slots, weights = bags(found.text_g[known], slot_g[known], self.idf_v, self._kind_v, len(cleaned))
        seq_ends, seq = sequences(found, self._ids(found.hash_t), len(cleaned))
        if self.pieces is None:
            return Ragged(ends, slots, weights, seq_ends, seq)
        piece = [self.pieces.ids(text) for text in texts]
        piece_ends = np.append(0, np.cumsum([len(row) for row in piece], dtype=np.int64))
        return Ragged(
            ends, slots, weights, seq_ends, seq, piece_ends, np.fromiter(chain.from_iterable(piece), np.int32)
        )

    @cached_property
    def _kind_v(self) -> Array:
        return (self.hash_v & np.uint64(3)).astype(np.int64)

    @cached_property
    def _known(self) -> Lookup:
        return Lookup.of(self.hash_v)

    @cached_property
    def _words(self) -> Lookup:
        return Lookup.of(self.hash_t)

    def _slots(self, hash_g: Array) -> Array:
        """The slot of each n-gram, 0 where it is not known."""
        return self._known.places(hash_g) + 1

    def _ids(self, hash_t: Array) -> Array:
        return np.append(self.id_t, np.int32(UNKNOWN))[self._words.places(hash_t)]


def _text(value: Any, name: str, row: int) -> str:
    if isinstance(value, str) and plain(value):
        return value
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    empty = value is None or isinstance(value, str)
    raise SchemaMismatch(
        f"rows[{row}]: {name} is {shown} where a text is due.",
        code="ROW_TEXT_EMPTY" if empty else "FEATURE_TYPE",
        remedy="Give a text in which something can be read." if empty else "Give the text as a JSON string.",
        row=row,
        column=name,
        value=shown,
    )
