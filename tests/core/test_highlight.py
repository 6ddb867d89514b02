"""Marks in texts: sums are kept, and a mark stands where its token stands in the text as it was given."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core import features
from tidemill.core.features.text_bags import Texts
from tidemill.core.features.text_pieces import Pieces as WordPieces
from tidemill.core.features.texts import TextProgram
from tidemill.core.highlight import Mark, marks
from tidemill.core.spec import Spec

Array = np.ndarray[Any, Any]
SENTENCES = [
    "The film was good, really good!!",
    "A bad film: boring and bad...",
    "Good actors, 12345678 thanks",
    "这部电影很好看",
    "这部电影不好看，很无聊",
    "good 😀 film 电影",
    "see http://example.com/a/b?c=d for the bad film",
    "ｆｕｌｌ width ＧＯＯＤ",
]
SCHEMA = {
    "modality": "text",
    "columns": [{"name": "review", "role": "feature"}, {"name": "label", "role": "target"}],
}


@pytest.fixture(scope="module")
def program() -> TextProgram:
    texts = np.array(SENTENCES * 2, dtype=object)
    fitted: TextProgram = features.fit({"review": texts}, SCHEMA, Spec())
    return fitted


def read(program: TextProgram, text: str) -> Texts:
    """One text as a model reads it."""
    return program.apply({"review": np.array([text], dtype=object)})


def explained(program: TextProgram, text: str, seed: int = 0) -> tuple[Array, Array]:
    """The bag of a text, and made-up contributions for what is no padding: n-grams, then tokens."""
    x = read(program, text)
    random = np.random.default_rng(seed)
    places = [random.normal(size=array.shape[1]) * (array[0] > 0) for array in (x.bag_nm, x.seq_nt)]
    return x.bag_nm[0], np.concatenate(places)


def marked(program: TextProgram, text: str, bag_m: Array, value_p: Array) -> tuple[list[Mark], float]:
    """The marks of n-grams and tokens: no network reads pieces of words here."""
    return marks(program, text, bag_m, value_p, len(value_p) - len(bag_m))


def only(program: TextProgram, text: str, token: int) -> list[Mark]:
    """The marks of contributions of which only one token has one."""
    bag_m, value_p = explained(program, text)
    alone_p = np.zeros_like(value_p)
    alone_p[len(bag_m) + token] = 1.0
    found, rest = marked(program, text, bag_m, alone_p)
    assert rest == 0.0
    return found


@pytest.mark.parametrize("text", SENTENCES)
def test_marks_and_rest_sum_to_the_contributions_and_stand_in_order(program: TextProgram, text: str) -> None:
    bag_m, value_p = explained(program, text)
    found, rest = marked(program, text, bag_m, value_p)
    assert sum(mark.contribution for mark in found) + rest == pytest.approx(value_p.sum(), abs=1e-9)
    assert rest == pytest.approx(0.0, abs=1e-12), "everything known stands somewhere"
    ends = [0, *(place for mark in found for place in (mark.start, mark.end))]
    assert ends == sorted(ends) and ends[-1] <= len(text)
    assert all(mark.start < mark.end for mark in found)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="goda film!. 电影好\u200b\u0301ｇ½ﷺ😀1\n", max_size=60), st.integers(0, 5))
def test_sums_are_kept_whatever_the_text(program: TextProgram, text: str, seed: int) -> None:
    bag_m, value_p = explained(program, text, seed)
    value_p = value_p + np.random.default_rng(seed).normal(size=len(value_p))  # padding too
    found, rest = marked(program, text, bag_m, value_p)
    assert sum(mark.contribution for mark in found) + rest == pytest.approx(value_p.sum(), abs=1e-9)
    assert all(0 <= mark.start < mark.end <= len(text) for mark in found)
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("text", "token", "shown"),
    [
        ("good film", 1, "film"),
        ("  good\t\n film", 1, "film"),
        ("go\u200bod film", 0, "go\u200bod"),  # a zero-width space within
        ("\u200b\u200bgood film", 0, "good"),
        ("😀😀 good", 2, "good"),
        ("😀 good", 0, "😀"),
        ("这部电影很好", 2, "电"),
        ("很 good 好", 1, "good"),
        ("ＧＯＯＤ film", 0, "ＧＯＯＤ"),
        ("\ufeffｆilm good", 1, "good"),
        ("cafe\u0301 good", 0, "cafe\u0301"),  # e and an accent of its own
        ("ﬁlm good", 0, "ﬁlm"),  # a ligature: one character that becomes two
        ("12345678 good", 0, "12345678"),
    ],
)
def test_a_mark_stands_where_the_token_stands_in_the_original(
    program: TextProgram, text: str, token: int, shown: str
) -> None:
    (mark,) = only(program, text, token)
    assert text[mark.start : mark.end] == shown and mark.contribution == 1.0


def test_an_n_gram_is_shared_by_the_tokens_it_touches_in_all_its_places(program: TextProgram) -> None:
    text = "bad film bad film"
    spans, x = program.spans(text), read(program, text)
    pairs = [slot for slot, start, end in zip(spans.slot_g, spans.start_g, spans.end_g, strict=True) if end - start > 5]
    assert pairs, "the pair of words is known"
    value_p = np.zeros(x.bag_nm.shape[1] + x.seq_nt.shape[1])
    value_p[list(x.bag_nm[0]).index(pairs[0])] = 1.0
    found, rest = marked(program, text, x.bag_nm[0], value_p)
    touched = [mark for mark in found if mark.contribution]
    assert rest == 0.0 and len(touched) in (3, 4)
    assert sum(mark.contribution for mark in touched) == pytest.approx(1.0)


def test_signs_that_stand_for_themselves_are_marked(program: TextProgram) -> None:
    text = "good film !!"
    spans, x = program.spans(text), read(program, text)
    signs = [slot for slot, start in zip(spans.slot_g, spans.start_g, strict=True) if start >= text.index("!")]
    if not signs:
        pytest.skip("no n-gram of signs alone is known")
    value_p = np.zeros(x.bag_nm.shape[1] + x.seq_nt.shape[1])
    value_p[list(x.bag_nm[0]).index(signs[0])] = -1.0
    found, rest = marked(program, text, x.bag_nm[0], value_p)
    assert [(text[mark.start : mark.end].strip("!"), mark.contribution) for mark in found] == [("", -1.0)]
    assert rest == 0.0


def test_what_stands_nowhere_is_the_rest(program: TextProgram) -> None:
    x = read(program, "good film")
    value_p = np.zeros(x.bag_nm.shape[1] + x.seq_nt.shape[1])
    value_p[x.bag_nm.shape[1] - 1], value_p[-1] = 0.25, 0.5  # padding of n-grams and of tokens
    assert marked(program, "good film", x.bag_nm[0], value_p) == ([], 0.75)


def test_a_text_without_anything_known_has_no_marks(program: TextProgram) -> None:
    bag_m, value_p = explained(program, "zzz")
    found, rest = marked(program, "", bag_m, value_p)
    assert found == [] and rest == pytest.approx(value_p.sum())


def test_a_long_text_is_marked_in_a_moment(program: TextProgram) -> None:
    """Marks are made of whole arrays; pairs of every n-gram with every token would take minutes here."""
    text = "good film 电影 " * 4_000
    bag_m, value_p = explained(program, text)
    found, rest = marked(program, text, bag_m, value_p)
    assert sum(mark.contribution for mark in found) + rest == pytest.approx(value_p.sum(), abs=1e-6)
    assert len(found) > 10_000


@pytest.mark.parametrize("text", ["An unaffable film!", "这部电影 unaffable", "good film " * 300])
def test_a_piece_of_a_word_is_marked_where_it_stands(program: TextProgram, text: str) -> None:
    known = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "film", "good", "a", "!", "电", "影")
    reading = program.reading(WordPieces(known))
    x, spans = read(reading, text), reading.spans(text)
    before = x.bag_nm.shape[1] + x.seq_nt.shape[1]
    value_p = np.zeros(before + x.piece_nt.shape[1])
    real = np.flatnonzero(x.piece_nt[0])
    value_p[before + real] = 1.0 + np.arange(len(real))
    found, rest = marks(reading, text, x.bag_nm[0], value_p, x.seq_nt.shape[1])
    assert sum(mark.contribution for mark in found) + rest == pytest.approx(value_p.sum())
    assert rest == 1.0 + len(real), "the start of the text and its end stand nowhere"
    at = {(mark.start, mark.end): mark.contribution for mark in found}
    within = [place for place in at if text[slice(*place)] == "unaffable"]
    for start, end in within:
        inside = (spans.start_p >= start) & (spans.end_p <= end) & (spans.start_p < spans.end_p)
        assert inside.sum() == 3 and at[start, end] == pytest.approx(value_p[before:][: len(inside)][inside].sum())
    assert within or "un" not in text
