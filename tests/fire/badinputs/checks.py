"""What each file must show beyond its class and its code: one assertion for each sentence of the manifest."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tests.fire.badinputs.uploading import Found

from tidemill.core.features.text_cleaning import clean

STILL = "017_animated_300.gif"  # a corpus may call an animation what holds one frame in its 62 bytes
Check = Callable[[Found], None]


def used(found: Found) -> Any:
    """The rows of the dataset, all splits together."""
    parts = [pq.read_table(found.folder(f"{split}-00000.parquet")) for split in ("train", "validation", "test")]
    return pa.concat_tables(parts)


def cells(found: Found, column: str) -> set[Any]:
    """The values of a column; of a category, the words behind its codes."""
    return set(used(found)[column].cast(pa.string()).to_pylist())


def rows(read: int, quarantined: int) -> Check:
    """So many rows read, so many set aside."""

    def check(found: Found) -> None:
        assert (found.run["rows"]["read"], found.run["rows"]["quarantined"]) == (read, quarantined), found.run["rows"]

    return check


def kinds(*expected: tuple[str, str]) -> Check:
    """These columns are of these kinds."""
    return lambda found: _equal([found.kind(name)[0] for name, _ in expected], [kind for _, kind in expected])


def _equal(is_: Any, should: Any) -> None:
    assert is_ == should, (is_, should)


def holds(column: str, value: str) -> Check:
    """The column has the value, letter for letter."""
    return lambda found: _equal(value in cells(found, column), True)


def classes(*expected: str) -> Check:
    """The classes of the target are these."""
    return lambda found: _equal(cells(found, "label"), set(expected))


def width(count: int) -> Check:
    """So many columns."""
    return lambda found: _equal(len(found.schema["columns"]), count)


def names(*expected: str) -> Check:
    """The columns, in their order."""
    return lambda found: _equal([column["name"] for column in found.schema["columns"]], list(expected))


def missing(column: str, count: int) -> Check:
    """So many cells of the column are missing."""
    return lambda found: _equal(found.profile["columns"][column]["missing"], count)


def noted(column: str, **expected: Any) -> Check:
    """The schema, by which requests are read, says this of the column."""

    def check(found: Found) -> None:
        (about,) = [item for item in found.schema["columns"] if item["name"] == column]
        _equal({name: about.get(name) for name in expected}, expected)

    return check


def aside(*expected: tuple[int, str]) -> Check:
    """These rows are set aside: where they stood in the file, and what of them is kept to recognise them."""

    def check(found: Found) -> None:
        kept = pq.read_table(found.folder("quarantine.parquet")).to_pylist()
        assert [row["row"] for row in kept] == [row for row, _ in expected], kept
        assert all(text in row["text"] for row, (_, text) in zip(kept, expected, strict=True)), kept

    return check


def told(*codes: str) -> Check:
    """These codes are among what the user is told."""
    return lambda found: _equal(set(codes) - found.codes, set())


def says(pattern: str) -> Check:
    """The reason, or a warning, reads so."""

    def check(found: Found) -> None:
        reason = found.run.get("reason", {})
        texts = [f"{reason.get('message')} {reason.get('remedy')}"]
        texts += [f"{warned['message']} {warned['remedy']}" for warned in found.profile.get("warnings", [])]
        assert any(re.search(pattern, text) for text in texts), texts

    return check


def silent(*secrets: str) -> Check:
    """None of these stands in the log, nor in what the user is told of the refusal."""

    def check(found: Found) -> None:
        for secret in secrets:
            assert secret not in found.log + found.rejection + str(found.run), secret
            assert secret not in str(found.profile.get("warnings")), secret

    return check


def untold(*secrets: str) -> Check:
    """Nor do they stand in what the dataset says of its columns, from which cards and reports of drift are made."""

    def check(found: Found) -> None:
        silent(*secrets)(found)
        assert not any(secret in str(found.profile) + str(found.schema) for secret in secrets)

    return check


def quick(most_s: float) -> Check:
    """Preprocess took no longer, its start included."""
    return lambda found: _equal(found.seconds < most_s, True)


def memory(most_mib: int) -> Check:
    """The process stayed below this; it begins at what Preprocess holds before its first message."""
    return lambda found: _equal(found.peak_bytes < most_mib << 20, True)


def every(*checks: Check) -> Check:
    """All of them."""

    def check(found: Found) -> None:
        for one in checks:
            one(found)

    return check


def nothing_outside(found: Found) -> None:
    """No file was written where a hostile path points, and none is named after what was sent."""
    parts = ("shards", "schema", "profile", "quarantine", "train-", "validation-", "test-")
    assert all(name.startswith(parts) and "/" not in name for name in found.files), found.files
    assert not Path("/tmp/evil.png").exists() and not Path("/etc/cron.d/evil").exists()  # noqa: S108


def finite(found: Found) -> None:
    """No number of the dataset is infinite, as a float32 either; what is missing stands as NaN, or as nothing."""
    for name in used(found).column_names:
        column = used(found)[name]
        if pa.types.is_floating(column.type):
            values = column.cast(pa.float32(), safe=False).to_pylist()
            assert not any(value is not None and abs(value) == float("inf") for value in values), name


def no_printed_objects(found: Found) -> None:
    """No cell is the text of a Python dictionary."""
    names = used(found).column_names
    assert not any(str(cell).startswith("{'") for name in names for cell in cells(found, name))


def pictures_stored_anew(found: Found) -> None:
    """What is stored is a picture made by us: no metadata and no tail of what was sent."""
    stored = used(found)["picture"].to_pylist()
    assert not any(part in one for one in stored for part in (b"<?php", b"Exif", b"PK\x03\x04"))


def picture(form: str = "any", colour: tuple[int, int, int] | None = None) -> Check:
    """The picture that was sent is stored in RGB or grey, upright, and of one colour where that is all it shows."""

    def check(found: Found) -> None:
        (row,) = [row for row in used(found).to_pylist() if Path(found.name).stem in row["file"]]
        with Image.open(io.BytesIO(row["picture"])) as image:
            assert image.mode in ("RGB", "L") and getattr(image, "n_frames", 1) == 1, image.mode
            assert form == "any" or (form == "upright") == (image.height > image.width), image.size
            assert colour is None or image.convert("RGB").getcolors() == [(image.width * image.height, colour)]

    return check


def same_without_what_nobody_sees(found: Found) -> None:
    """Features are made of the cleaned text, and that is the same."""
    texts = used(found)["text"].to_pylist()
    hidden = [text for text in texts if not text.isascii()]
    assert hidden and all(clean(text) == clean(text.encode("ascii", "ignore").decode()) for text in hidden)


def linear(found: Found) -> None:
    """The longest text is cleaned, which is all that regular expressions do to it, within a second."""
    started = time.process_time()
    clean(max(used(found)["text"].to_pylist(), key=len))
    assert time.process_time() - started < 1


def short_reasons(found: Found) -> None:
    """The log and the quarantine's reasons hold at most 200 characters of a cell."""
    assert "x" * 201 not in found.log
    kept = pq.read_table(found.folder("quarantine.parquet"))
    assert all("x" * 201 not in reason for reason in kept["reason"].to_pylist())


_HOSTILE = silent("onerror=alert", "<script>")
CHECKS: dict[str, Check] = {
    "csv/000_control_good.csv": rows(60, 0),
    "csv/006_utf8_bom.csv": every(names("age", "income", "city", "label"), kinds(("age", "number"))),
    "csv/008_utf16le_nobom.csv": silent("\x00"),
    "csv/009_utf32.csv": says("UTF-32"),
    "csv/010_cp1252.csv": every(
        holds("city", "Orléans"),
        lambda found: _equal(found.profile["encoding"], "windows-1252"),
        told("ENCODING_GUESSED"),
    ),
    "csv/012_nul_bytes.csv": every(rows(60, 2), lambda found: _equal("Ly" in cells(found, "city"), False)),
    "csv/016_gzip_named.csv": says(r"\.csv\.gz"),
    "csv/018_html_named.csv": silent("<"),
    "csv/022_truncated_mid_row.csv": every(rows(60, 1), aside((61, "9,3183,L")), told("NO_FINAL_LINE_BREAK")),
    "csv/031_ragged_long.csv": every(names("age", "income", "city", "label"), rows(60, 1)),
    "csv/032_ragged_half.csv": says(r"30 of 60 rows .* 0\.05"),
    "csv/033_all_rows_one_longer.csv": says(
        "names (3 columns, but the rows have 4|4 columns, but the rows have 5) fields"
    ),
    "csv/035_quote_in_middle.csv": holds("city", 'Pa"ris'),
    "csv/036_newline_in_quotes.csv": rows(60, 0),
    "csv/039_crlf.csv": classes("yes", "no"),
    "csv/040_cr_only.csv": rows(60, 0),
    "csv/041_mixed_eol.csv": classes("yes", "no"),
    "csv/043_tab.csv": width(4),
    "csv/044_pipe.csv": width(4),
    "csv/045_sep_line.csv": names("age", "income", "city", "label"),
    "csv/047_no_header.csv": says("looks like data, not like column names"),
    "csv/048_duplicate_headers.csv": every(names("age", "age__2", "city", "label"), says("age__2")),
    "csv/052_empty_header_name.csv": every(kinds(("column_2", "number")), says("column_2")),
    "csv/053_whitespace_headers.csv": every(lambda f: _equal(f.run["target"], "label"), told("COLUMN_NAME_TRIMMED")),
    "csv/056_total_row.csv": every(kinds(("age", "number")), rows(61, 1), aside((62, "TOTAL"))),
    "csv/057_many_columns_20k.csv": every(memory(200), quick(2)),
    "csv/059_one_huge_line.csv.gz": memory(300),
    "csv/060_huge_field_8mb.csv": short_reasons,
    "csv/061_gz_bomb.csv.gz": memory(300),
    "csv/063_gz_concatenated.csv.gz": rows(120, 0),
    "csv/071_nan_inf_strings.csv": finite,
    "csv/072_overflow_f32.csv": finite,
    "csv/073_int_over_2p53.csv": noted("id", kind="category", role="dropped", reason="identifier"),
    "csv/075_mixed_types.csv": every(kinds(("age", "number")), missing("age", 1), aside((3, "twelve"))),
    "csv/076_mixed_types_half.csv": every(kinds(("age", "category")), says("30 numbers with 30 words")),
    "csv/077_decimal_comma.csv": every(
        kinds(("a", "number")), lambda f: _equal([f.profile["columns"]["a"][k] for k in ("min", "max")], [0.5, 59.5])
    ),
    "csv/079_currency_percent.csv": every(
        noted("price", kind="number", unit="$"), noted("rate", kind="number", unit="%"), told("COLUMN_UNIT")
    ),
    "csv/080_ambiguous_dates.csv": every(
        noted("d", kind="datetime", order="month-day-year"), says("read as month-day-year")
    ),
    "csv/083_null_spellings.csv": every(kinds(("a", "number")), missing("a", 20)),
    "csv/084_namibia.csv": every(told("VALUE_NULL_WORD"), holds("country", "NA")),
    "csv/088_singleton_class.csv": every(rows(61, 1), classes("yes", "no"), aside((62, "maybe"))),
    "csv/091_all_duplicates.csv": says("All rows are equal but for the target"),
    "csv/093_constant_column.csv": finite,
    "csv/095_pii.csv": untold("u7@example.test", "4111111111111111", "000-00-0007"),
    "csv/096_secrets.csv": silent("AKIA"),
    "csv/100_hostile_headers.csv": kinds(("__proto__", "number"), ("constructor", "number")),
    "csv/102_path_headers.csv": nothing_outside,
    "csv/103_html_headers.csv": lambda found: _equal("<script>" in found.log, False),
    "csv/104_long_header.csv": silent("a" * 201),
    "csv/106_ansi_log_injection.csv": silent("PWNED", '"message":"fake"'),
    "csv/110_prompt_injection.csv": every(rows(60, 0), silent("Ignore previous")),
    "csv/111_label_whitespace_case.csv": says("'NO' = 'No' = 'no'"),
    "json/001_nan_literal.json": says("(NaN|Infinity) is not JSON"),
    "json/002_duplicate_keys.json": says("'a' occurs twice"),
    "json/004_huge_int.json": silent("9" * 201),
    "json/005_lone_surrogate.json": says("surrogate"),
    "json/008_trailing_comma.json": says(r"at (line \d+, )?character \d+"),
    "json/012_nested_objects.json": every(no_printed_objects, names("a.b.c", "label"), kinds(("a.b.c", "number"))),
    "json/020_exponent_bomb.json": memory(300),
    "parquet/004_corrupt_page.parquet": says("cannot be read: .*(corrupt|Corrupt|checksum|snappy)"),
    "parquet/005_row_bomb.parquet": every(memory(300), quick(5), says(r"\d+0,000,000 rows; the limit is 10,000,000")),
    "parquet/006_string_bomb.parquet": memory(300),
    "parquet/010_odd_types.parquet": every(
        names("dec", "ts", "label"), kinds(("dec", "number")), says("'bin' is of type")
    ),
    "parquet/014_py_extension_pickle.parquet": silent("pickle was loaded"),
    "parquet/017_thrift_garbage.parquet": silent("Segmentation"),
    "xlsx/001_formulas_uncached.xlsx": says("60 cells of 'b'"),
    "xlsx/002_many_sheets.xlsx": says("first visible one, 'Sheet"),
    "xlsx/004_merged_title.xlsx": says("row 2 looks like the header"),
    "xlsx/005_billion_laughs.xlsx": memory(300),
    "xlsx/008_far_cell.xlsx": memory(300),
    "zip/001_slip_dotdot.zip": nothing_outside,
    "zip/004_symlink.zip": silent("root:x:"),
    "zip/005_nested.zip": every(rows(25, 1), aside((25, "more.zip"))),
    "zip/008_size_lie.zip": memory(300),
    "zip/012_duplicate_names.zip": says("cat/0.png"),
    "zip/014_macos_junk.zip": every(
        rows(24, 0), classes("cat", "dog"), lambda found: _equal(found.profile["source"]["junk"] > 0, True)
    ),
    "zip/021_exe_member.zip": rows(25, 1),
    "zip/024_deep_path.zip": says(r"2,\d+ levels"),
    "zip/025_tar_symlink_dir.tar.gz": nothing_outside,
    "zip/028_lzma_method.zip": says("method 14; stored and deflated members are read"),
    "image/001_pixel_bomb_30k.png": memory(300),
    "image/002_pixel_bomb_160mpx.png": memory(300),
    "image/004_truncated.jpg": rows(41, 1),
    "image/005_truncated.png": rows(41, 1),
    "image/008_jpeg_named.png": every(
        rows(41, 0), lambda found: _equal(found.profile["pictures"]["formats"]["JPEG"], 1)
    ),
    "image/009_svg_named.png": rows(41, 1),
    "image/012_exif_orientation.jpg": every(pictures_stored_anew, picture("upright")),
    "image/013_exif_gps_long.jpg": pictures_stored_anew,
    "image/014_cmyk.jpg": every(rows(41, 0), picture()),
    "image/016_palette_alpha.png": every(rows(41, 0), picture(colour=(255, 255, 255))),
    "image/017_animated_300.gif": every(rows(41, 0), picture()),
    "image/018_polyglot_png_zip.png": pictures_stored_anew,
    "image/020_one_pixel.png": rows(41, 0),
    "image/022_ztxt_bomb.png": memory(300),
    "image/026_tiff_loop.tif": rows(41, 1),
    "image/029_jpeg_no_eoi_tail.jpg": pictures_stored_anew,
    "text/002_long_doc.csv": every(rows(60, 0), told("ROW_FIELD_TOO_LONG")),
    "text/004_zero_width_evasion.csv": every(rows(60, 0), same_without_what_nobody_sees),
    "text/006_regex_redos.csv": every(rows(60, 0), linear),
    "model/001_pickle.pkl": silent("this pickle was loaded"),
    "model/005_external_traversal.onnx": silent("root:x:"),
    "model/008_custom_domain.onnx": says("never loaded"),
}
