"""What a model reads is any number of arrays with the same rows, and some may be missing."""

from __future__ import annotations

import numpy as np

from tidemill.core.features.text_bags import Texts
from tidemill.training import inputs
from tidemill.training.bundle import specs_of

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def texts(rows: int, grams: int, tokens: int, pieces: int = 0) -> Texts:
    bag_nm, seq_nt = np.ones((rows, grams), np.int32), np.ones((rows, tokens), np.int32)
    piece_nt = np.ones((rows, pieces), np.int32) if pieces else None
    return Texts(bag_nm, bag_nm.astype(np.float32), seq_nt, np.full(rows, tokens, np.int32), piece_nt)


def test_an_array_alone_is_x_and_an_array_that_is_missing_is_no_input() -> None:
    assert list(inputs.named(TABLE)) == ["x"]
    assert list(inputs.named(texts(2, 3, 4))) == ["bag_nm", "weight_nm", "seq_nt", "length_n"]
    assert list(inputs.named(texts(2, 3, 4, 5)))[-1] == "piece_nt"


def test_arrays_in_the_order_of_their_names_are_the_inputs_again() -> None:
    assert inputs.like(TABLE, [TABLE[:1]]) is not None
    for given in (texts(2, 3, 4), texts(2, 3, 4, 5)):
        again = inputs.like(given, list(inputs.named(given).values()))
        assert all(one is other for one, other in zip(again, given, strict=True))


def test_rows_are_counted_taken_filled_up_and_put_behind_each_other() -> None:
    for narrow, wide in ((texts(2, 3, 4), texts(3, 8, 2)), (texts(2, 3, 4, 5), texts(3, 8, 2, 6))):
        together = inputs.joined([narrow, wide])
        assert inputs.count(together) == 5
        assert together.bag_nm.shape == (5, 8) and together.seq_nt.shape == (5, 4)
        assert not together.bag_nm[:2, 3:].any() and not together.seq_nt[2:, 2:].any()
        assert inputs.count(inputs.taken(together, slice(1, 3))) == 2
        filled = inputs.filled(together, 3)
        assert inputs.count(filled) == 8 and not filled.seq_nt[5:].any()


def test_a_graph_takes_any_number_of_rows_and_texts_of_any_length() -> None:
    assert specs_of(TABLE)["x"].dims == ("batch", 3)
    found = {name: item.dims for name, item in specs_of(texts(2, 3, 4, 5)).items()}
    assert found == {
        **{"bag_nm": ("batch", "grams"), "weight_nm": ("batch", "grams"), "seq_nt": ("batch", "tokens")},
        **{"length_n": ("batch",), "piece_nt": ("batch", "pieces")},
    }
