"""The laws of the text program: each text by itself, nothing unseen counts, and what is known can be shown in place."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from tidemill.core import features
from tidemill.core.errors import BadBundle, BadTable, SchemaMismatch
from tidemill.core.features import text_bags, text_fitting, text_grams, text_lookup
from tidemill.core.features.text_cleaning import clean, clean_with_places, plain
from tidemill.core.features.text_grams import CHARACTERS, KINDS, LETTERS, PHRASES, WORDS, grams
from tidemill.core.features.texts import UNKNOWN, TextProgram
from tidemill.core.limits import limit
from tidemill.core.prepare.hashing import mix
from tidemill.core.spec import Spec

LAWS = settings(max_examples=100, deadline=None)
SCHEMA = {
    "modality": "text",
    "columns": [{"name": "t", "role": "feature", "kind": "text"}, {"name": "y", "role": "target", "kind": "category"}],
}
TEXTS = [
    "The cat sat on the mat, and the dog sat by the door.",
    "A dog barked at the cat; the cat sat still!",
    "Doors and mats are made of wood and wool 😀",
    "这家酒店的服务很好，房间也很干净。",
    "房间不干净，服务很差 :( but the mat is good",
    "Call 08712345678 now, see https://example.com/win?id=7 or www.example.org/a 😀",
    "Call 08798765432 today, see http://example.com/lose in 2024",
    "ｆｕｌｌ ｗｉｄｔｈ text und Straße, STRASSE, ﬁne",
]
# Latin, Chinese, Hangul parts, marks, half-width katakana, signs nobody sees, and whatever else there is
AWKWARD = st.text(
    st.sampled_from("ab Ab1. 猫狗が\u1100\u1161\u11a8e\u0301\u0323ｶﾞﬃßİ\u200b\ufeff\u00ad\u202e\U000e0041\n\t😀")
    | st.characters(codec="utf-8"),
    max_size=60,
)


def column(texts: list[str]) -> dict[str, Any]:
    return {"t": np.array([*texts, None], dtype=object)[:-1]}


def fitted(texts: list[str] | None = None) -> TextProgram:
    program = features.fit(column(texts or TEXTS), SCHEMA, Spec())
    assert isinstance(program, TextProgram)
    return program


PROGRAM = fitted()


def bag_of(program: TextProgram, text: str) -> dict[int, float]:
    found = program.apply(column([text]))
    return {int(slot): float(w) for slot, w in zip(found.bag_nm[0], found.weight_nm[0], strict=True) if slot}


def ids_of(program: TextProgram, text: str) -> list[int]:
    found = program.apply(column([text]))
    return found.seq_nt[0, : found.length_n[0]].tolist()


@LAWS
@given(st.lists(AWKWARD | st.sampled_from(TEXTS), min_size=1, max_size=5))
def test_a_batch_of_texts_equals_batches_of_one(texts: list[str]) -> None:
    together = PROGRAM.apply(column(texts))
    for row, text in enumerate(texts):
        alone = PROGRAM.apply(column([text]))
        for whole, part in zip(together[:3], alone[:3], strict=True):
            assert whole.dtype == part.dtype
            np.testing.assert_array_equal(whole[row, : part.shape[1]], part[0])
            assert not whole[row, part.shape[1] :].any()
        assert together.length_n[row] == alone.length_n[0]


@LAWS
@given(AWKWARD | st.sampled_from(TEXTS), st.data())
def test_signs_nobody_sees_do_not_count(text: str, data: st.DataObject) -> None:
    hidden = "\u200b\u2060\u00ad\x01\U000e0041\u202e"
    ascii_text = text.encode("ascii", "ignore").decode()
    at = data.draw(st.integers(0, len(ascii_text)))
    split = ascii_text[:at] + data.draw(st.sampled_from(hidden)) + ascii_text[at:]
    assert bag_of(PROGRAM, split) == bag_of(PROGRAM, ascii_text)
    assert plain(split) == plain(ascii_text)


@LAWS
@given(AWKWARD)
def test_every_character_of_a_cleaned_text_has_its_place_in_the_original(text: str) -> None:
    cleaned, places = clean_with_places(text)
    assert len(cleaned) == len(places)
    assert all(0 <= start < end <= len(text) for start, end in places)
    spans = PROGRAM.spans(text)
    for start, end in ((spans.start_g, spans.end_g), (spans.start_t, spans.end_t)):
        assert np.all((start >= 0) & (start < end) & (end <= len(text)))


@pytest.mark.parametrize("text", TEXTS)
def test_spans_name_the_bag_and_the_sequence_where_they_stand(text: str) -> None:
    spans = PROGRAM.spans(text)
    assert set(spans.slot_g.tolist()) == set(bag_of(PROGRAM, text))
    assert spans.id_t.tolist() == ids_of(PROGRAM, text)
    for identity, start, end in zip(spans.id_t, spans.start_t, spans.end_t, strict=True):
        assert ids_of(PROGRAM, text[start:end]) == [identity] or text[start:end].isdigit()
    words = [text[start:end] for start, end in zip(spans.start_t, spans.end_t, strict=True)]
    if text.startswith("ｆｕｌｌ"):
        assert words[:2] == ["ｆｕｌｌ", "ｗｉｄｔｈ"]
    if text.startswith("这家"):
        assert words[:4] == ["这", "家", "酒", "店"]


def test_a_marked_letter_is_shown_whole_where_normalising_joins_it() -> None:
    text = "cafe\u0301 noir"
    spans = fitted([text, "café noir"]).spans(text)
    assert [text[s:e] for s, e in zip(spans.start_t, spans.end_t, strict=True)] == ["cafe\u0301", "noir"]


def test_weights_are_those_of_scikit_learn_for_words_and_for_letters() -> None:
    texts = ["the cat sat on a mat", "a cat and a dog sat there", "dogs and cats", "the mat on the mat by the dog"]
    program = fitted(texts)
    ragged = program.ragged(column(texts))
    kind_v = program.hash_v & np.uint64(3)
    for kind, options in (
        (WORDS, {"token_pattern": r"\w+", "ngram_range": (1, 2)}),
        (LETTERS, {"analyzer": "char_wb", "ngram_range": (2, 5)}),
    ):
        peer = TfidfVectorizer(sublinear_tf=True, min_df=1, **options).fit_transform(texts)
        for row in range(len(texts)):
            part = slice(ragged.bag_ends[row], ragged.bag_ends[row + 1])
            mine = ragged.weight[part][kind_v[ragged.bag[part] - 1] == kind]
            np.testing.assert_allclose(np.sort(mine), np.sort(peer[row].data), rtol=1e-6)


def test_weights_are_those_of_scikit_learn_for_chinese_characters_and_phrases() -> None:
    texts = ["服务很好，房间干净！", "房间很好，5星服务", "5星！房间 服务很好", "干净，很好！"]
    program = fitted(texts)
    ragged = program.ragged(column(texts))
    kind_v = program.hash_v & np.uint64(3)
    for kind, pattern, longest in ((CHARACTERS, r"[\u4e00-\u9fff]+", 3), (PHRASES, r"\S+", 5)):

        def parts(text: str, pattern: str = pattern, longest: int = longest) -> list[str]:
            runs = re.findall(pattern, clean(text))
            found = [run[at:end] for run in runs for at, end in _stretches(len(run), longest)]
            return [part for part in found if (len(part) > 1 or longest == 3) and re.search(r"[\u4e00-\u9fff]", part)]

        peer = TfidfVectorizer(sublinear_tf=True, min_df=1, analyzer=parts).fit_transform(texts)
        for row in range(len(texts)):
            part = slice(ragged.bag_ends[row], ragged.bag_ends[row + 1])
            mine = ragged.weight[part][kind_v[ragged.bag[part] - 1] == kind]
            share = np.linalg.norm(mine)  # the others have what is written in letters and signs
            np.testing.assert_allclose(np.sort(mine) / share, np.sort(peer[row].data), rtol=1e-6)


def _stretches(length: int, longest: int) -> list[tuple[int, int]]:
    return [(at, end) for at in range(length) for end in range(at + 1, min(length, at + longest) + 1)]


def test_chinese_characters_and_words_weigh_by_their_share() -> None:
    program = fitted(["很好 ok", "很好的酒店 ok", "ok fine", "酒店很好"])
    squares = dict.fromkeys(range(KINDS), 0.0)
    for slot, weight in bag_of(program, "很好的酒店 ok").items():
        squares[int(program.hash_v[slot - 1] & np.uint64(3))] += weight**2
    assert squares[CHARACTERS] == pytest.approx(squares[PHRASES])
    assert squares[PHRASES] > squares[WORDS] == pytest.approx(squares[LETTERS])
    pure = bag_of(program, "酒店很好")
    assert sum(weight**2 for weight in pure.values()) == pytest.approx(2.0)


def test_chinese_characters_weigh_as_much_in_a_vocabulary_from_before_there_were_phrases() -> None:
    program = fitted(["很好 ok", "很好的酒店 ok", "ok fine", "酒店很好"])
    before = (program.hash_v & np.uint64(3)) != PHRASES
    older = replace(program, hash_v=program.hash_v[before], idf_v=program.idf_v[before])
    assert sum(weight**2 for weight in bag_of(older, "酒店很好").values()) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GREAT  Movie\n", "great movie"),
        ("ｇｒｅａｔ　ｍｏｖｉｅ", "great movie"),
        ("call 0871-2345678", "call 0871-9999999"),
        ("see https://a.example/x?y=1 now", "see http://a.example/other/way#top now"),
        ("die Straße", "DIE STRASSE"),
    ],
)
def test_spellings_that_mean_the_same_have_the_same_bags(one: str, other: str) -> None:
    program = fitted([one, other, one, other])
    assert bag_of(program, one) == bag_of(program, other)
    assert ids_of(program, one) == ids_of(program, other)


def test_years_and_other_short_numbers_stay_apart() -> None:
    program = fitted(["in 1999", "in 1999", "in 2024", "in 2024"])
    assert bag_of(program, "in 1999") != bag_of(program, "in 2024")


def test_the_order_of_the_texts_makes_no_difference_to_the_fit() -> None:
    backwards = fitted(TEXTS[::-1])
    for name, array in PROGRAM.arrays().items():
        np.testing.assert_array_equal(array, backwards.arrays()[name])


def test_small_batches_give_the_same_fit_and_the_same_bags(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = PROGRAM.ragged(column(TEXTS))
    monkeypatch.setattr(text_grams, "BATCH_CHARACTERS", 60)
    assert len(list(text_grams.batches(TEXTS))) > 4
    program, parts = fitted(), PROGRAM.ragged(column(TEXTS))
    for name, array in PROGRAM.arrays().items():
        np.testing.assert_array_equal(array, program.arrays()[name])
    for name, array in vars(whole).items():
        np.testing.assert_array_equal(array, getattr(parts, name))
        assert array is None or array.dtype == getattr(parts, name).dtype


def test_what_was_written_reads_the_same(tmp_path: Any) -> None:
    np.savez_compressed(tmp_path / "features.npz", allow_pickle=False, **PROGRAM.arrays())
    with np.load(tmp_path / "features.npz", allow_pickle=False) as arrays:
        again = TextProgram.from_json(json.loads(json.dumps(PROGRAM.to_json())), arrays)
    for before, after in zip(PROGRAM.apply(column(TEXTS)), again.apply(column(TEXTS)), strict=True):
        np.testing.assert_array_equal(before, after)
    assert (again.columns, again.ignored, again.documents) == (("t",), ("y",), len(TEXTS))


def test_a_damaged_program_is_refused() -> None:
    value, arrays = PROGRAM.to_json(), PROGRAM.arrays()
    wrong: list[tuple[Any, Any]] = [
        ({**value, "format": 9}, arrays),
        ({**value, "modality": "table"}, arrays),
        ({**value, "slots": 3}, arrays),
        ([], arrays),
        (value, {}),
        (value, {**arrays, "idf_v": arrays["idf_v"][1:]}),
        (value, {**arrays, "hash_v": arrays["hash_v"].astype(float)}),
    ]
    for given_value, given_arrays in wrong:
        with pytest.raises(BadBundle):
            TextProgram.from_json(given_value, given_arrays)


def test_rows_of_a_request_are_read_as_columns_are() -> None:
    rows = [{"t": TEXTS[0]}, {"t": TEXTS[3], "y": "good"}]
    for one, other in zip(PROGRAM.x_of_rows(rows), PROGRAM.apply(column([TEXTS[0], TEXTS[3]])), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({}, "FEATURE_MISSING"),
        ({"text": "a"}, "FEATURE_UNKNOWN"),
        ({"t": None}, "ROW_TEXT_EMPTY"),
        ({"t": " \u200b"}, "ROW_TEXT_EMPTY"),
        ({"t": 7}, "FEATURE_TYPE"),
    ],
)
def test_a_row_without_a_text_is_refused_by_number(row: dict[str, Any], code: str) -> None:
    with pytest.raises(SchemaMismatch) as caught:
        PROGRAM.x_of_rows([{"t": "fine"}, row])
    assert caught.value.code == code
    assert caught.value.details["row"] == 1


def test_texts_that_share_nothing_cannot_be_learned_from() -> None:
    with pytest.raises(BadTable) as caught:
        fitted(["ab", "cd", "ef"])
    assert caught.value.code == "NO_FEATURES"


def test_tokens_are_numbered_by_frequency_and_unknown_ones_are_one() -> None:
    program = fitted(["b a b c", "b a 猫", "猫 b"])
    assert ids_of(program, "b") == [2]
    assert sorted(ids_of(program, "a 猫")) == [3, 4]
    assert ids_of(program, "c dog") == [UNKNOWN, UNKNOWN]


def test_bags_keep_the_strongest_and_sequences_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"word{number} w{number}" for number in range(400))
    program = fitted([text, text, "word1 w1"])
    whole = bag_of(program, text)
    monkeypatch.setattr(text_bags, "MOST_GRAMS", 100)
    cut = bag_of(program, text)
    assert len(cut) == 100
    assert cut.items() <= whole.items()
    assert min(cut.values()) >= max(weight for slot, weight in whole.items() if slot not in cut)
    found = program.apply(column([text]))
    assert found.bag_nm.shape == (1, 128)
    assert found.seq_nt.shape == (1, text_bags.MOST_TOKENS)
    assert found.length_n.tolist() == [text_bags.MOST_TOKENS]
    np.testing.assert_array_equal(found.seq_nt[0, :2], program.apply(column(["word0 w0"])).seq_nt[0, :2])


def test_a_full_vocabulary_has_room_for_words_beside_their_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_fitting, "MOST_KEPT", 40)
    program = fitted()
    kinds = (program.hash_v & np.uint64(3)).tolist()
    assert len(kinds) == 40
    assert kinds.count(LETTERS) == 20
    assert np.all(program.hash_v[1:] > program.hash_v[:-1])


def test_what_stands_in_one_text_alone_takes_only_places_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["the cat sat", "the cat ran", "the dog slept"]
    whole = fitted(texts)
    rarest = whole.idf_v.max()
    single_v = whole.idf_v == rarest
    assert bag_of(whole, "dog")
    monkeypatch.setattr(text_fitting, "MOST_KEPT", int((~single_v).sum()) + 3)
    fuller = fitted(texts)
    assert (fuller.idf_v == rarest).sum() == 3
    assert set(whole.hash_v[~single_v].tolist()) < set(fuller.hash_v.tolist())


def test_counting_forgets_single_ones_only_when_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_fitting, "MOST_HELD", 2)
    counts = text_fitting.Counts()
    counts.add(np.array([1, 5, 9], np.uint64))
    counts.add(np.array([5], np.uint64))
    hashes, often = counts.read()
    assert (hashes.tolist(), often.tolist()) == ([5], [2])


def test_a_text_is_cut_at_the_limit_and_what_follows_changes_nothing() -> None:
    text = "the cat " * (limit("text") // 8)
    assert bag_of(PROGRAM, text) == bag_of(PROGRAM, text + "dog dog")


@pytest.mark.parametrize(
    "text",
    ["a" * 60_000, "e" + "\u0301\u0323" * 30_000, "http" * 15_000, "( " * 30_000, "猫" * 60_000, "\ufdfa" * 60_000],
)
def test_the_work_grows_with_the_length_of_a_text_and_no_faster(text: str) -> None:
    cleaned, places = clean_with_places(text)
    found = grams([cleaned])
    assert len(cleaned) == len(places) <= limit("text")
    assert len(found.hash_g) + len(found.hash_t) <= 8 * len(cleaned)


def test_hashes_are_mixed_and_found_as_elsewhere() -> None:
    values = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
    np.testing.assert_array_equal(text_grams.mix(values), mix(values))
    known = np.unique(np.random.default_rng(0).integers(0, 1 << text_grams.HASH_BITS, 5_000, np.uint64))
    asked = np.concatenate([known[::-1], known ^ np.uint64(1), np.array([0], np.uint64)])
    places = text_lookup.Lookup.of(known).places(asked)
    wanted = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    np.testing.assert_array_equal(places, np.where(known[wanted] == asked, wanted, text_lookup.ABSENT))
    assert text_lookup.Lookup.of(known[:0]).places(asked[:3]).tolist() == [text_lookup.ABSENT] * 3
