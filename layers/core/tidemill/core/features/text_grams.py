"""What stands in a text, as hashes: words, pairs of words, characters within words, Chinese and Japanese by themselves.

Axes: c characters, t tokens, g n-grams. Everything is whole arrays over a batch of texts, in linear time.

A hash has 52 bits, so that it fits one 64-bit number together with the place of its text in the batch, and counting is
a plain sort. Its two lowest bits are the kind of the n-gram. A text with an unknown n-gram takes it for one of 131,072
known ones once in 10**10 times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tidemill.core.features.kinds import Array
from tidemill.core.features.text_marks import CJK, EMOJI, SPACE, WORD, Marks, lay_out

WORDS, LETTERS, CHARACTERS, PHRASES = range(4)  # kinds of n-gram, the two lowest bits of a hash
KINDS = 4
HASH_BITS = 52
BATCH_TEXTS = 1 << (64 - HASH_BITS)
BATCH_CHARACTERS = 1 << 18  # arrays of 2 MiB, which stay in the processor's cache
LONGEST_LETTERS, LONGEST_CHARACTERS, LONGEST_PHRASE = 5, 3, 5
WORD_CHARACTERS = 64  # of a word that count: a longer one is none

_GOLDEN, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_BASE, _FACTOR = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xA0761D6478BD642F)
_POWERS = np.append(np.cumprod(np.full(WORD_CHARACTERS, _BASE)), np.uint64(0))
_SALTS = {name: salt for salt, name in enumerate(["word", "pair", "token"], start=1)}
_SALTS |= {f"letters{length}": 10 + length for length in range(2, LONGEST_LETTERS + 1)}
_SALTS |= {f"characters{length}": 20 + length for length in range(1, LONGEST_CHARACTERS + 1)}
_SALTS |= {f"phrase{length}": 30 + length for length in range(2, LONGEST_PHRASE + 1)}


@dataclass(frozen=True)
class Grams:
    """The n-grams and tokens of a batch of texts: the text of each, its hash, and its characters in the marks."""

    marks: Marks
    text_g: Array
    hash_g: Array
    start_g: Array
    end_g: Array
    text_t: Array
    hash_t: Array
    start_t: Array
    end_t: Array


def mix(values: Array) -> Array:
    """splitmix64 of each unsigned 64-bit integer, as in prepare.hashing (which may not be imported here)."""
    mixed: Array = values + _GOLDEN
    mixed ^= mixed >> np.uint64(30)
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= _SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed


def batches(cleaned: Sequence[str]) -> Iterator[slice]:
    """The texts in runs that bound the memory a batch takes."""
    start = size = 0
    for place, text in enumerate(cleaned):
        if place > start and (size + len(text) > BATCH_CHARACTERS or place - start == BATCH_TEXTS):
            yield slice(start, place)
            start, size = place, 0
        size += len(text)
    if start < len(cleaned):
        yield slice(start, len(cleaned))


def grams(cleaned: Sequence[str]) -> Grams:
    """Everything that stands in a batch of cleaned texts."""
    marks = lay_out(cleaned)
    mixed_c = mix(marks.code_c.astype(np.uint64))
    start_t, end_t, value_t = _tokens(marks, mixed_c)
    hash_t = _finished(value_t, "token", WORDS)
    parts = [*_words(marks, start_t, end_t, value_t), *_letters(marks, mixed_c)]
    parts += [*_characters(marks, mixed_c), *_phrases(marks, mixed_c)]
    hash_g, start_g, end_g = (np.concatenate(column) for column in zip(*parts, strict=True))
    text_c = marks.text_c
    return Grams(marks, text_c[start_g], hash_g, start_g, end_g, text_c[start_t], hash_t, start_t, end_t)


def _finished(value: Array, salt: str, kind: int) -> Array:
    value = (value ^ np.uint64(_SALTS[salt])) * _FIRST
    value ^= value >> np.uint64(32)
    value *= _FACTOR
    value >>= np.uint64(64 - HASH_BITS)
    value &= ~np.uint64(3)
    value |= np.uint64(kind)
    return value


def _tokens(marks: Marks, mixed_c: Array) -> tuple[Array, Array, Array]:
    """Where each token starts and ends, with a number for it: words, emoji, single Chinese and Japanese characters."""
    inside = np.append(marks.kind_c >= WORD, False)
    first = inside[:-1].copy()
    first[1:] &= ~inside[:-2]
    single = (marks.kind_c == EMOJI) | (marks.kind_c == CJK)
    start_t = np.flatnonzero(first | single)
    end_t = start_t + 1
    of_words = ~single[start_t]
    end_t[of_words] = np.flatnonzero(inside[:-1] & ~inside[1:]) + 1
    value_t = mixed_c[start_t] * _BASE
    if of_words.any():
        value_t[of_words] = _word_values(mixed_c, start_t[of_words], end_t[of_words])
    return start_t, end_t, value_t


def _word_values(mixed_c: Array, starts: Array, ends: Array) -> Array:
    lengths = ends - starts
    firsts = np.cumsum(lengths) - lengths
    at = np.arange(int(lengths.sum())) - np.repeat(firsts, lengths)
    characters = mixed_c[at + np.repeat(starts, lengths)] * _POWERS[np.minimum(at, WORD_CHARACTERS)]
    summed: Array = np.add.reduceat(characters, firsts)
    return summed


Found = tuple[Array, Array, Array]  # hashes, starts, ends


def _words(marks: Marks, start_t: Array, end_t: Array, value_t: Array) -> Iterator[Found]:
    chosen = marks.kind_c[start_t] != CJK
    yield _finished(value_t[chosen], "word", WORDS), start_t[chosen], end_t[chosen]
    text_t = marks.text_c[start_t]
    two = np.flatnonzero(chosen[:-1] & chosen[1:] & (text_t[:-1] == text_t[1:]))
    yield _finished(value_t[two] * _BASE + mix(value_t[two + 1]), "pair", WORDS), start_t[two], end_t[two + 1]


def _letters(marks: Marks, mixed_c: Array) -> Iterator[Found]:
    """2 to 5 characters within what stands between spaces, one space before and one behind it included."""
    apart = (marks.kind_c == SPACE) | (marks.kind_c == CJK)
    mixed_c = np.where(apart, mix(np.array([32], np.uint64)), mixed_c)
    count = len(apart)
    last = np.where(apart, np.arange(count), count)
    next_apart = np.minimum.accumulate(last[::-1])[::-1]
    at = np.flatnonzero(~(apart[:-1] & apart[1:]))
    room = next_apart[at + 1] - at
    value = mixed_c[at]
    for length in range(2, LONGEST_LETTERS + 1):
        fits = room >= length - 1
        at, room = at[fits], room[fits]
        value = value[fits] * _BASE + mixed_c[at + length - 1]
        yield _finished(value, f"letters{length}", LETTERS), at + apart[at], at + length - apart[at + length - 1]


def _characters(marks: Marks, mixed_c: Array) -> Iterator[Found]:
    """1 to 3 Chinese or Japanese characters in a row."""
    cjk = np.append(marks.kind_c == CJK, False)
    at = np.flatnonzero(cjk)
    value = mixed_c[at]
    for length in range(1, LONGEST_CHARACTERS + 1):
        if length > 1:
            follows = cjk[at + length - 1]
            at = at[follows]
            value = value[follows] * _BASE + mixed_c[at + length - 1]
        yield _finished(value, f"characters{length}", CHARACTERS), at, at + length


def _phrases(marks: Marks, mixed_c: Array) -> Iterator[Found]:
    """2 to 5 characters and signs in a row, with a Chinese or Japanese one among them."""
    cjk = marks.kind_c == CJK
    if not cjk.any():
        return
    seen = np.append(0, np.cumsum(cjk))
    inside = np.append(marks.kind_c != SPACE, False)
    at = np.flatnonzero(inside)
    value = mixed_c[at]
    for length in range(2, LONGEST_PHRASE + 1):
        follows = inside[at + length - 1]
        at = at[follows]
        value = value[follows] * _BASE + mixed_c[at + length - 1]
        with_cjk = seen[at + length] > seen[at]
        start = at[with_cjk]
        yield _finished(value[with_cjk], f"phrase{length}", PHRASES), start, start + length
