"""Data sets of pictures: labelled, counted, split by what is seen, stored clean, the same every time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.core.pictures import Members, class_folders, decoded, drawn, encoded, pairs, tarred, zipped

from tidemill.core import manifest
from tidemill.core.errors import BadTable
from tidemill.core.limits import LIMITS, Limit
from tidemill.core.prepare import Prepared, load_groups, load_split, prepare, read_schema
from tidemill.core.progress import Progress
from tidemill.core.spec import Spec

Make = Callable[..., Prepared]
SPLITS = ("train", "validation", "test")


@pytest.fixture
def pack(make: Make) -> Make:
    """Prepare a zip of members under a specification."""

    def packing(members: Members, **sections: dict[str, Any]) -> Prepared:
        return make(zipped(members), "set.zip", **sections)

    return packing


def whole(prepared: Prepared) -> list[tuple[str, str, bytes]]:
    """File, label and bytes of every used picture."""
    rows = []
    for split in SPLITS:
        for path in sorted(prepared.folder.glob(f"{split}-*.parquet")):
            table = pq.read_table(path, partitioning=None)
            names = ["file", prepared.schema["target"], "picture"]
            rows += list(zip(*(table[name].to_pylist() for name in names), strict=True))
    return sorted(rows)


def quarantined(prepared: Prepared) -> list[tuple[str, str]]:
    table = pq.read_table(prepared.folder / "quarantine.parquet")
    return sorted(zip(table["code"].to_pylist(), table["text"].to_pylist(), strict=True))


def codes(prepared: Prepared) -> set[str]:
    return {warned["code"] for warned in prepared.profile["warnings"]}


def refusal(pack: Make, members: Members, **sections: dict[str, Any]) -> BadTable:
    with pytest.raises(BadTable) as caught:
        pack(members, **sections)
    assert caught.value.remedy
    return caught.value


def test_class_folders_become_a_whole_dataset(pack: Make) -> None:
    members = class_folders(120)
    prepared = pack(members)
    files = {f"{split}-00000.parquet" for split in SPLITS}
    names = {path.name for path in prepared.folder.iterdir()}
    assert names == {"schema.json", "profile.json", "quarantine.parquet", "MANIFEST.json", *files}
    assert manifest.check(prepared.folder)["id"] == prepared.dataset
    schema, profile = prepared.schema, prepared.profile
    assert (schema["modality"], schema["task"], schema["target"]) == ("picture", "binary", "label")
    assert schema["labels"] == ["cat", "dog"]
    assert [(item["name"], item["role"]) for item in schema["columns"]] == [
        *(("picture", "feature"), ("file", "id"), ("label", "target"))
    ]
    assert profile["modality"] == "picture"
    assert [(item["label"], item["rows"]) for item in profile["classes"]] == [("cat", 60), ("dog", 60)]
    assert all(name in members for item in profile["classes"] for name in item["examples"])
    assert profile["pictures"]["grey"] == 40
    assert [(file, label) for file, label, _ in whole(prepared)] == sorted((n, n.split("/")[0]) for n in members)


def test_load_split_gives_bytes_labels_and_hashes_in_the_order_of_the_hashes(pack: Make) -> None:
    prepared = pack(class_folders(60))
    seen = 0
    for split in SPLITS:
        columns, labels, hashes = load_split(prepared.folder, split)
        assert list(columns) == ["picture"]
        assert {type(data) for data in columns["picture"]} == {bytes}
        assert len(labels) == len(hashes) == len(columns["picture"]) == prepared.rows[split]
        assert set(labels) <= {"cat", "dog"}
        assert np.all(hashes[:-1] <= hashes[1:])
        seen += len(labels)
    assert seen == 60
    assert load_groups(prepared.folder, "train") == {}


def test_the_pixels_of_small_pictures_are_stored_exactly(pack: Make) -> None:
    members = class_folders()
    for file, _, data in whole(pack(members)):
        assert np.array_equal(decoded(data).squeeze(), decoded(members[file]).squeeze())


def test_large_pictures_are_stored_small_close_and_upright(pack: Make) -> None:
    large = drawn(9, 900, 600)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned clockwise to be upright
    members = {**class_folders(), "cat/large.jpg": encoded(large, "JPEG", exif=exif, quality=95)}
    stored = next(data for file, _, data in whole(pack(members)) if file == "cat/large.jpg")
    pixels = decoded(stored)
    assert pixels.shape == (341, 512, 3)
    upright = np.asarray(Image.fromarray(large).transpose(Image.Transpose.ROTATE_270).resize((512, 341)))
    assert np.abs(pixels.astype(int) - upright).mean() < 3


def test_nothing_but_pixels_is_stored(pack: Make) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x8825] = "a camera maker", {1: "N", 2: (52.0, 31.0, 12.0)}
    members = {**class_folders(), "cat/x.jpg": encoded(drawn(7, 300, 300), "JPEG", exif=exif) + b"<?php evil ?>"}
    stored = next(data for file, _, data in whole(pack(members)) if file == "cat/x.jpg")
    assert b"camera" not in stored
    assert b"php" not in stored
    assert not Image.open(io.BytesIO(stored)).getexif()


@pytest.mark.parametrize("packer", [zipped, tarred, lambda members: tarred(members, "w:gz")])
def test_the_same_archive_gives_the_same_bytes(make: Make, packer: Callable[[Members], bytes]) -> None:
    data = packer(class_folders())
    first, second = (make(data, "set") for _ in range(2))
    assert first.dataset == second.dataset
    for path in first.folder.iterdir():
        assert path.read_bytes() == (second.folder / path.name).read_bytes(), path.name


def test_formats_and_orders_of_archives_do_not_change_the_split(make: Make) -> None:
    members = list(pairs(class_folders(100)))
    shuffled = random.Random(0).sample(members, len(members))
    one, two = make(zipped(members), "a.zip"), make(tarred(shuffled, "w:gz"), "b.tar.gz")
    for split in SPLITS:
        (columns, labels, hashes), (others, same, equal) = (load_split(p.folder, split) for p in (one, two))
        assert np.array_equal(hashes, equal)
        assert np.array_equal(labels, same)
        assert np.array_equal(columns["picture"], others["picture"])


def test_equal_pictures_share_a_split_whatever_file_they_came_in(pack: Make) -> None:
    members = class_folders(200)
    kinds = [("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("PNG", {"compress_level": 1})]
    twins = {}
    for index, (name, data) in enumerate(members.items()):
        kind, options = kinds[index % 4]
        twins[name.replace(".png", ".twin")] = encoded(decoded(data), kind, **options)
    prepared = pack({**members, **twins})
    place = {}
    for split in SPLITS:
        for file in pq.read_table(prepared.folder / f"{split}-00000.parquet", partitioning=None)["file"].to_pylist():
            place[file] = split
    assert prepared.profile["split"]["method"] == "content"
    assert all(place[name] == place[name.replace(".png", ".twin")] for name in members)
    assert "DUPLICATE_ROWS" in codes(prepared)
    assert prepared.profile["duplicate_rows"] == 200


def test_duplicates_go_where_the_specification_says(pack: Make) -> None:
    members = class_folders(60)
    members |= {name.replace("/", "/copy-"): data for name, data in list(members.items())[:10]}
    prepared = pack(members, preprocess={"duplicates": "drop"})
    assert prepared.rows["used"] == 60
    assert prepared.profile["quarantined"] == {"DUPLICATE_ROW": 10}


def test_the_same_picture_in_two_classes_is_told(pack: Make) -> None:
    members = class_folders(60)
    members["dog/clash.png"] = members["cat/0.png"]
    warned = [w for w in pack(members).profile["warnings"] if w["code"] == "LABEL_CONFLICT"]
    assert len(warned) == 1
    assert "cat/0.png" in warned[0]["message"]
    assert "dog/clash.png" in warned[0]["message"]


def test_pictures_read_are_used_or_quarantined_by_name_and_reason(pack: Make) -> None:
    cut = encoded(drawn(5))[:-40]
    bad = {
        "cat/cut.png": (cut, "IMAGE_TRUNCATED"),
        "cat/none.png": (b"", "IMAGE_EMPTY"),
        "dog/page.jpg": (b"<html>404</html>", "IMAGE_FORMAT"),
        "dog/program.png": (b"MZ\x00\x01" + bytes(99), "MEMBER_TYPE_MISMATCH"),
        "dog/inner": (zipped({"x": b"1"}), "MEMBER_NESTED_ARCHIVE"),
        "dog/boxes.xml": (b"<x/>", "MEMBER_TYPE_MISMATCH"),
        "rare/only.png": (encoded(drawn(77)), "CLASS_TOO_SMALL"),
        "stray.png": (encoded(drawn(78)), "MISSING_TARGET"),
    }
    members = class_folders(200)
    prepared = pack({**members, **{name: data for name, (data, _) in bad.items()}})
    assert prepared.rows["read"] == 208
    assert prepared.rows["used"] == 200
    assert prepared.rows["quarantined"] == 8
    assert quarantined(prepared) == sorted((code, repr(name)) for name, (_, code) in bad.items())


def test_too_many_broken_pictures_reject_the_archive(pack: Make) -> None:
    members = class_folders(60)
    broken = {f"cat/broken-{k}.png": b"\x89PNG broken" for k in range(10)}
    error = refusal(pack, {**members, **broken})
    assert error.code == "TOO_MANY_BAD_ROWS"
    assert error.details["codes"] == {"IMAGE_TRUNCATED": 10}
    assert pack({**members, **broken}, preprocess={"max_bad_fraction": 0.2}).rows["used"] == 60


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda name: name.split("/")[1], "LABELS_MISSING"),
        (lambda name: "pictures/" + name.split("/")[1], "LABELS_MISSING"),
        (lambda name: ("train/" if "cat" in name else "test/") + name.split("/")[1], "LABELS_MISSING"),
        (lambda name: name.replace(".png", ".txt"), "TOO_MANY_BAD_ROWS"),
    ],
)
def test_archives_without_classes_are_refused(pack: Make, change: Callable[[str], str], code: str) -> None:
    assert refusal(pack, {change(name): data for name, data in class_folders().items()}).code == code


@pytest.mark.parametrize("prefix", ["", "animals/", "animals/train/", "./", "Archive 1/data/"])
def test_folders_above_the_classes_do_not_matter(pack: Make, prefix: str) -> None:
    assert pack(class_folders(prefix=prefix)).schema["labels"] == ["cat", "dog"]


def test_a_folder_below_the_classes_that_is_always_the_same_is_passed_over(pack: Make) -> None:
    members = {name.replace("/", "/images/"): data for name, data in class_folders().items()}
    assert pack(members).schema["labels"] == ["cat", "dog"]


def test_train_and_test_folders_are_taken_together_and_told(pack: Make) -> None:
    members = {("train/" if k % 4 else "test/") + name: data for k, (name, data) in enumerate(class_folders().items())}
    prepared = pack(members)
    assert prepared.schema["labels"] == ["cat", "dog"]
    assert "SPLIT_FOLDERS" in codes(prepared)


def test_a_readme_and_junk_are_no_pictures(pack: Make) -> None:
    more = {"README.md": b"hello", "LICENSE.txt": b"free", "classes.json": b"{}", "cat/.DS_Store": b"x"}
    prepared = pack({**class_folders(), **more})
    assert prepared.rows["read"] == prepared.rows["used"] == 40
    assert prepared.profile["source"] == {"format": "zip", "members": 40, "junk": 1}


def test_pictures_and_texts_together_are_ambiguous(pack: Make) -> None:
    texts = {f"notes/{k}.txt": b"text" for k in range(10)}
    assert refusal(pack, {**class_folders(), **texts}).code == "MODALITY_AMBIGUOUS"


def flat(count: int = 60) -> tuple[dict[str, bytes], dict[str, str]]:
    """Pictures in one folder, and their labels by path."""
    members = {f"images/{k:03d}.png": encoded(drawn(k)) for k in range(count)}
    return members, {name: ("cat", "dog", "鸟")[k % 3] for k, name in enumerate(members)}


NAMINGS: dict[str, Callable[[str], str]] = {
    "by path": lambda name: name,
    "by name": lambda name: name.split("/")[1],
    "without extension": lambda name: name.split("/")[1].removesuffix(".png"),
    "by a windows path": lambda name: name.replace("/", "\\"),
    "from here": lambda name: "./" + name,
}


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("header", ["file,label", "filename,class", "id,image,target", "Path,animal"])
def test_a_table_of_files_names_the_classes(pack: Make, naming: str, header: str) -> None:
    members, labels = flat()
    first = "7," if header.startswith("id") else ""
    rows = "".join(f"{first}{NAMINGS[naming](name)},{label}\n" for name, label in labels.items())
    prepared = pack({**members, "data.csv": f"{header}\n{rows}".encode()})
    assert prepared.schema["target"] == header.split(",")[-1]
    assert {file: label for file, label, _ in whole(prepared)} == labels
    assert prepared.rows["read"] == 60


def test_a_table_wins_over_folders_and_tells_what_it_lacks(pack: Make) -> None:
    members = class_folders(60)
    labels = {name: ("a", "b")[k % 2] for k, name in enumerate(members) if k >= 5}
    rows = "".join(f"{name},{label}\n" for name, label in labels.items())
    twice = "cat/6.png,b\n"
    prepared = pack({**members, "labels.csv": f"file,label\n{rows}{twice}gone.png,a\n".encode()})
    assert prepared.schema["labels"] == ["a", "b"]
    assert prepared.profile["quarantined"] == {"MISSING_TARGET": 5, "LABEL_CONFLICT": 1}
    assert "LABELS_WITHOUT_FILE" in codes(prepared)


def test_the_target_may_be_named(pack: Make) -> None:
    members, labels = flat()
    rows = "".join(f"{name},x,{label}\n" for name, label in labels.items())
    archive = {**members, "data.csv": f"file,label,species\n{rows}".encode()}
    assert pack(archive, data={"target": "species"}).schema["labels"] == ["cat", "dog", "鸟"]
    assert pack(class_folders(), data={"target": "animal"}).schema["target"] == "animal"


def test_tables_that_cannot_tell_are_refused(pack: Make) -> None:
    members, labels = flat()
    table = ("file,label\n" + "".join(f"{name},{label}\n" for name, label in labels.items())).encode()
    assert refusal(pack, {**members, "a.csv": table, "b.csv": table}).code == "LABELS_AMBIGUOUS"
    assert refusal(pack, {**members, "a.csv": table.replace(b"images", b"nowhere").replace(b"/", b"-")}).code == (
        "LABELS_MISSING"
    )


@pytest.mark.parametrize(
    ("members", "sections", "code"),
    [
        (class_folders(18), {}, "TOO_FEW_ROWS"),
        (class_folders(40), {"data": {"task": "regression"}}, "TARGET_NOT_NUMERIC"),
        (class_folders(60, classes=("a", "b", "c")), {"data": {"task": "binary"}}, "TARGET_NOT_BINARY"),
        ({**class_folders(40, classes=("a",)), "b/1.png": encoded(drawn(99))}, {}, "TARGET_CONSTANT"),
    ],
)
def test_what_cannot_be_learned_is_refused(pack: Make, members: Members, sections: Any, code: str) -> None:
    assert refusal(pack, members, **sections).code == code


def test_names_that_are_taken_or_mean_nothing_are_told(pack: Make) -> None:
    prepared = pack(class_folders(), data={"target": "picture", "drop": ["colour"]})
    assert prepared.schema["target"] == "picture__2"
    assert {"COLUMN_RESERVED_NAME", "COLUMN_NOT_FOUND"} <= codes(prepared)
    assert set(load_split(prepared.folder, "train")[1]) == {"cat", "dog"}


def test_too_many_classes_are_refused(pack: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "classes", Limit(2, "classes", "test"))
    assert refusal(pack, class_folders(60, classes=("a", "b", "c"))).code == "TARGET_TOO_MANY_CLASSES"


def test_a_single_picture_is_no_data_set(make: Make) -> None:
    for name in ("picture.png", "picture", "picture.jpeg"):
        with pytest.raises(BadTable) as caught:
            make(encoded(drawn(1)), name)
        assert caught.value.code == "NOT_DATA_IMAGE"
    with pytest.raises(BadTable) as caught:
        make(encoded(drawn(1))[:-30], "picture.png")
    assert caught.value.code == "IMAGE_TRUNCATED"


@pytest.mark.parametrize("kind", ["WEBP", "BMP"])
def test_a_single_picture_without_a_magic_of_its_own_is_found_by_its_name(make: Make, kind: str) -> None:
    with pytest.raises(BadTable) as caught:
        make(encoded(drawn(1), kind), "x." + kind.lower())
    assert caught.value.code == "NOT_DATA_IMAGE"


def test_nothing_is_left_in_the_folder_of_a_refused_archive(tmp_path: Path) -> None:
    with pytest.raises(BadTable):
        prepare(io.BytesIO(zipped(class_folders(10))), "a.zip", Spec(), tmp_path / "d", model="m")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d"]
    assert not list((tmp_path / "d").iterdir())


def test_progress_is_told_and_ends_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    data = io.BytesIO(zipped(class_folders()))
    prepare(data, "a.zip", Spec(), tmp_path / "d", model="m", report=told.append)
    assert told[-1].stage == "writing"
    assert told[-1].step == told[-1].steps == 40


def test_size_is_part_of_a_dataset_and_its_absence_is_not(pack: Make) -> None:
    plain, sized = pack(class_folders()), pack(class_folders(), data={"size": 64})
    assert plain.dataset != sized.dataset
    assert "size" not in plain.schema["spec"]["data"]
    assert read_schema(sized.folder)["spec"]["data"]["size"] == 64


def test_tables_need_no_pillow() -> None:
    code = "import sys, tidemill.core.prepare, tidemill.core.features; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": os.pathsep.join(sys.path)}).returncode == 0


def test_memory_does_not_grow_with_the_archive(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures spooled at once stay within the limit of a chunk."""
    from tidemill.core.prepare import picture_reading

    sizes: list[int] = []
    append = picture_reading.Spool.append

    def counted(self: Any, columns: dict[str, Any]) -> None:
        sizes.append(columns["picture"].nbytes)
        append(self, columns)

    monkeypatch.setattr(picture_reading.Spool, "append", counted)
    monkeypatch.setitem(LIMITS, "chunk", Limit(20_000, "bytes", "test"))
    prepared = make(zipped(class_folders(100)), "a.zip")
    assert len(sizes) > 3
    assert max(sizes) < 25_000
    digest = hashlib.sha256(b"".join(data for _, _, data in whole(prepared))).hexdigest()
    monkeypatch.setitem(LIMITS, "chunk", Limit(8 << 20, "bytes", "test"))
    again = make(zipped(class_folders(100)), "a.zip")
    assert digest == hashlib.sha256(b"".join(data for _, _, data in whole(again))).hexdigest()
    assert json.loads((again.folder / "profile.json").read_text()) == prepared.profile
