"""Archives of text files: labelled as pictures are, prepared as tables of texts are, every file accounted for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.core.pictures import Members, tarred, zipped

from tidemill.core.errors import BadTable
from tidemill.core.limits import LIMITS, Limit
from tidemill.core.prepare import Prepared, load_split

Make = Callable[..., Prepared]
MOODS = ("good", "bad")
WORDS = {"good": "a fine day, with number %d and much joy", "bad": "what a dreadful evening, number %d of them"}


def folders(count: int = 80, form: str = "set/{mood}/{at}.txt") -> Members:
    moods = [(at, MOODS[at % 2]) for at in range(count)]
    return [(form.format(mood=mood, at=at), (WORDS[mood] % at).encode()) for at, mood in moods]


def quarantined(prepared: Prepared) -> dict[str, int]:
    return dict(prepared.profile["quarantined"])


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_files_in_class_folders_become_a_dataset_of_texts(make: Make, pack: Any) -> None:
    members = [*folders(), ("set/good/zeros.txt", bytes(50)), ("readme.txt", b"Nobody said what this is.")]
    prepared = make(pack(members), "set.zip")
    roles = {column["name"]: (column["kind"], column["role"]) for column in prepared.schema["columns"]}
    assert (prepared.schema["modality"], prepared.schema["target"]) == ("text", "label")
    assert (roles["text"], roles["file"][1]) == (("text", "feature"), "dropped")
    assert prepared.schema["labels"] == ["bad", "good"]
    assert quarantined(prepared) == {"MISSING_TARGET": 1, "NOT_TEXT": 1}
    assert prepared.rows["read"] == 82
    assert "folder" in prepared.profile["target"]["how"]
    columns, target, _ = load_split(prepared.folder, "train")
    assert all(("joy" in text) == (mood == "good") for text, mood in zip(columns["text"], target, strict=True))


def test_a_table_in_the_archive_names_the_labels(make: Make) -> None:
    members = folders(form="texts/{at}.txt")
    lines = ["file,mood", *(f"texts/{at}.txt,{MOODS[at % 2]}" for at in range(80))]
    prepared = make(zipped([*members, ("labels.csv", "\n".join(lines).encode())]), "set.zip")
    assert (prepared.schema["target"], prepared.schema["labels"]) == ("mood", ["bad", "good"])


def test_a_label_called_text_does_not_hide_the_texts(make: Make) -> None:
    members = folders(form="texts/{at}.txt")
    lines = ["file,text", *(f"texts/{at}.txt,{MOODS[at % 2]}" for at in range(80))]
    prepared = make(zipped([*members, ("labels.csv", "\n".join(lines).encode())]), "set.zip")
    assert prepared.schema["target"] == "text__2"
    assert "COLUMN_RESERVED_NAME" in {warned["code"] for warned in prepared.profile["warnings"]}


def test_files_without_extensions_are_texts_where_they_read_as_texts(make: Make) -> None:
    prepared = make(tarred(folders(form="news/{mood}/{at}")), "news.tar")
    assert (prepared.schema["modality"], prepared.rows["used"]) == ("text", 80)


def test_what_is_set_aside_keeps_its_place_in_the_archive(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "text_file", Limit(1_000, "bytes", "for the test"))
    members = folders()
    members[4] = ("set/good/large.txt", b"x" * 1_001)
    prepared = make(zipped(members), "set.zip", preprocess={"max_bad_fraction": 0.2})
    table = pq.read_table(prepared.folder / "quarantine.parquet")
    assert list(zip(table["row"].to_pylist(), table["code"].to_pylist(), strict=True)) == [(5, "ROW_FIELD_TOO_LONG")]


def test_texts_in_one_folder_have_no_labels(make: Make) -> None:
    with pytest.raises(BadTable) as caught:
        make(zipped(folders(form="all/{at}.txt")), "set.zip")
    assert caught.value.code == "LABELS_MISSING"


def test_the_same_archive_gives_the_same_dataset(make: Make) -> None:
    first, second = make(zipped(folders()), "set.zip"), make(zipped(folders()), "set.zip")
    assert first.dataset == second.dataset
    assert (first.folder / "train-00000.parquet").read_bytes() == (second.folder / "train-00000.parquet").read_bytes()
