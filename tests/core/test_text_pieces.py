"""Texts are cut into the pieces that the network knows, each stands where it came from, and a program keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.sentences import column, program_of, texts, vocabulary

from tidemill.core import features
from tidemill.core.errors import BadBackbone, BadBundle
from tidemill.core.features.text_pieces import END, MOST_PIECES, PADDING, START, UNKNOWN, Pieces

LAWS = settings(max_examples=100, deadline=None)
SMALL = Pieces(
    (PADDING, UNKNOWN, START, END, "un", "##aff", "##able", "the", "cafe", "!", "=", "北", "京", "a", "##b", "ᄒ", "##ᅡ")
)
KNOWN = vocabulary()
AWKWARD = st.text(
    st.sampled_from("ab the Un\u00c9e\u0301北京豈\ufa0e\u200b\u00ad\ufeff\t\n!≠한한\u3000.")
    | st.characters(codec="utf-8"),
    max_size=80,
)
# what BERT's own tokenizer for uncased text gives with this vocabulary
CUT = {
    "unaffable": ["un", "##aff", "##able"],
    "UNAFFABLE, The": ["un", "##aff", "##able", UNKNOWN, "the"],
    "thethe": [UNKNOWN],
    "Café CAFE\u0301": ["cafe", "cafe"],
    "北京 the!北": ["北", "京", "the", "!", "北"],
    "a\u200bb a\u00adb": ["a", "##b", "a", "##b"],
    "a≠a": ["a", "=", "a"],
    "하": ["ᄒ", "##ᅡ"],
    "": [],
    " \t\n\u3000": [],
    "the\ufffd the": ["the", "the"],
    "x" * 101: [UNKNOWN],
}


@pytest.mark.parametrize("text", CUT)
def test_a_text_is_cut_as_bert_cuts_it(text: str) -> None:
    ids = SMALL.ids(text)
    assert [SMALL.vocabulary[at] for at in ids] == [START, *CUT[text], END]


@LAWS
@given(AWKWARD)
def test_every_piece_stands_somewhere_in_the_text_in_its_order(text: str) -> None:
    ids, places = KNOWN.ids(text), KNOWN.places(text)
    assert len(ids) == len(places) <= MOST_PIECES
    assert places[0] == places[-1] == (0, 0)
    within = places[1:-1]
    assert all(0 <= start < end <= len(text) for start, end in within)
    assert within == sorted(within)
    assert (ids[0], ids[-1]) == (KNOWN.vocabulary.index(START), KNOWN.vocabulary.index(END))
    assert all(0 < at < len(KNOWN.vocabulary) for at in ids)


def test_pieces_stand_where_they_were_read() -> None:
    text = "Charming\u200b cafe\u0301 很好!"
    shown = [text[start:end] for start, end in KNOWN.places(text)[1:-1]]
    assert shown[:2] == ["Charm", "ing\u200b"]
    assert shown[2] == "c" and shown[5] == "e\u0301"
    assert shown[6:] == ["很", "好", "!"]


def test_a_long_text_is_cut_behind_as_many_pieces_as_are_read() -> None:
    assert len(SMALL.ids("the " * 1_000)) == MOST_PIECES
    assert len(SMALL.ids("the " * (MOST_PIECES - 2))) == MOST_PIECES
    assert SMALL.ids("the " * 1_000)[-1] == SMALL.vocabulary.index(END)
    assert len(SMALL.ids("unaffable " * 60)) == len(SMALL.places("unaffable " * 60)) == MOST_PIECES


@pytest.mark.parametrize("missing", [UNKNOWN, START, END])
def test_a_vocabulary_without_a_special_piece_is_refused_by_its_name(missing: str, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(piece for piece in SMALL.vocabulary if piece != missing), encoding="utf-8")
    with pytest.raises(BadBackbone, match=missing[1:-1]):
        Pieces.load(path)


def test_padding_must_come_first_and_the_file_must_be_text(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SMALL.vocabulary[1:], PADDING]), encoding="utf-8")
    with pytest.raises(BadBackbone, match="begins with"):
        Pieces.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadBackbone, match="cannot be read"):
        Pieces.load(path)
    with pytest.raises(BadBackbone, match="cannot be read"):
        Pieces.load(tmp_path / "nothing.txt")


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_vocabulary_is_read_whatever_its_line_ends(tmp_path: Path, end: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes((end or "\n").join(SMALL.vocabulary).encode() + end.encode())
    assert Pieces.load(path).vocabulary == SMALL.vocabulary


# --- in the program ---------------------------------------------------------------------------------------------------


ROWS = texts(3, 60)[0]
PROGRAM = program_of(ROWS)
READING = PROGRAM.reading(KNOWN)


def test_without_a_network_that_reads_them_there_are_no_pieces() -> None:
    assert PROGRAM.apply(column(ROWS)).piece_nt is None
    assert "pieces" not in PROGRAM.arrays()
    assert len(PROGRAM.spans(ROWS[0]).start_p) == 0


def test_pieces_come_beside_n_grams_and_tokens_and_change_neither() -> None:
    with_pieces, without = (program.apply(column(ROWS)) for program in (READING, PROGRAM))
    for one, other in zip(with_pieces[:4], without[:4], strict=True):
        assert np.array_equal(one, other)
    piece_nt = with_pieces.piece_nt
    assert piece_nt is not None and piece_nt.dtype == np.int32
    for row, text in enumerate(ROWS):
        ids = KNOWN.ids(text)
        assert piece_nt[row, : len(ids)].tolist() == ids
        assert not piece_nt[row, len(ids) :].any()


@LAWS
@given(st.lists(AWKWARD, min_size=1, max_size=5))
def test_a_batch_of_texts_equals_batches_of_one(rows: list[str]) -> None:
    together = READING.apply(column(rows)).piece_nt
    assert together is not None
    for row, text in enumerate(rows):
        alone = READING.apply(column([text])).piece_nt
        assert alone is not None
        assert np.array_equal(together[row, : alone.shape[1]], alone[0])
        assert not together[row, alone.shape[1] :].any()


def test_spans_have_a_place_for_every_piece() -> None:
    spans = READING.spans(ROWS[1])
    assert list(zip(spans.start_p.tolist(), spans.end_p.tolist(), strict=True)) == KNOWN.places(ROWS[1])


def test_a_program_keeps_its_pieces_in_its_files(tmp_path: Path) -> None:
    features.save(tmp_path, READING)
    again = features.load(tmp_path)
    assert again.pieces.vocabulary == KNOWN.vocabulary
    for one, other in zip(again.apply(column(ROWS)), READING.apply(column(ROWS)), strict=True):
        assert np.array_equal(one, other)


def test_a_program_and_pieces_that_do_not_fit_each_other_are_refused() -> None:
    told, arrays = READING.to_json(), READING.arrays()
    with pytest.raises(BadBundle):
        type(READING).from_json({**told, "pieces": told["pieces"] + 1}, arrays)
    with pytest.raises(BadBundle):
        type(READING).from_json(told, {**arrays, "pieces": np.frombuffer(b"\xff\xfe", np.uint8)})
    with pytest.raises(BadBundle):
        type(READING).from_json(told, PROGRAM.arrays())


def test_many_texts_are_padded_in_batches_too() -> None:
    many = ROWS * 100
    piece_nt = READING.apply(column(many)).piece_nt
    assert piece_nt is not None and len(piece_nt) == len(many)
    assert np.array_equal(piece_nt[: len(ROWS)], piece_nt[-len(ROWS) :])
