"""CSV files whose bytes, lines or names are wrong, and honest ones that look odd."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Iterator

from tests.fire.corpus.case import GOOD, HEADER, PARTLY, REFUSED, Made, lines, series, swapped, table


def cases() -> Iterator[Made]:
    """The files of this kind."""
    for part in (_bytes(), _lines(), _names(), _packed(), _variants()):
        for name, expected, reason, content in part:
            yield Made(f"csv/{name}", expected, reason, content if isinstance(content, bytes) else content.encode())


Row = tuple[str, str, str, bytes | str]


def _bytes() -> Iterator[Row]:
    noise = random.Random(1).randbytes(65_536)
    yield "000_control_good.csv", GOOD, "OK", table()
    yield "001_empty.csv", REFUSED, "EMPTY_FILE", b""
    yield "002_only_bom.csv", REFUSED, "EMPTY_FILE", b"\xef\xbb\xbf"
    yield "004_header_only.csv", REFUSED, "NO_ROWS", HEADER + "\n"
    yield "005_one_row.csv", REFUSED, "TOO_FEW_ROWS", table(lines(1))
    yield "006_utf8_bom.csv", GOOD, "OK", "\ufeff" + table()
    yield "008_utf16le_nobom.csv", REFUSED, "ENCODING_UNKNOWN", table().encode("utf-16-le")
    yield "009_utf32.csv", REFUSED, "ENCODING_UNSUPPORTED", table().encode("utf-32")
    yield "010_cp1252.csv", GOOD, "OK", swapped("30,1000,Orléans,no").encode("cp1252")
    yield "012_nul_bytes.csv", PARTLY, "ROW_NUL_BYTE", swapped("30,1\x00000,Paris,no", "31,2000,Ly\x00on,yes")
    yield "013_all_nul.csv", REFUSED, "NOT_TEXT", bytes(65_536)
    yield "014_random_binary.csv", REFUSED, "NOT_TEXT", noise
    yield "016_gzip_named.csv", REFUSED, "TYPE_MISMATCH", gzip.compress(table().encode(), mtime=0)
    yield "017_parquet_named.csv", REFUSED, "TYPE_MISMATCH", b"PAR1" + noise[:999] + b"PAR1"
    yield "018_html_named.csv", REFUSED, "TYPE_MISMATCH", "<!doctype html><script>alert(1)</script><p>AccessDenied"
    yield "020_json_named.csv", REFUSED, "TYPE_MISMATCH", '[{"a": 1, "label": 0}, {"a": 2, "label": 1}]'
    yield "021_git_lfs_pointer.csv", REFUSED, "NOT_DATA_LFS_POINTER", _POINTER
    yield "022_truncated_mid_row.csv", PARTLY, "ROW_RAGGED", table()[:-9]
    yield "108_noncharacters.csv", GOOD, "OK", swapped("30,1000,\ufffe\uffff\U0010ffff,no")


_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "0" + "\nsize 12345\n"


def _lines() -> Iterator[Row]:
    mixed = "".join(row + ("\r\n" if n % 2 else "\n") for n, row in enumerate([HEADER, *lines()]))
    longer = [row.replace(",no", ",x,no").replace(",yes", ",x,yes") for row in lines()]
    yield "031_ragged_long.csv", PARTLY, "ROW_RAGGED", swapped("30,1000,Paris,no,EXTRA,EXTRA")
    yield (
        "032_ragged_half.csv",
        REFUSED,
        "TOO_MANY_BAD_ROWS",
        table([r if n % 2 else r[:5] for n, r in enumerate(lines())]),
    )
    yield "033_all_rows_one_longer.csv", REFUSED, "HEADER_MISMATCH", table(longer)
    yield "035_quote_in_middle.csv", GOOD, "OK", swapped('30,1000,Pa"ris,no')
    yield "036_newline_in_quotes.csv", GOOD, "OK", swapped('30,1000,"Pa\nris",no')
    yield "037_escaped_quotes.csv", GOOD, "OK", swapped('30,1000,"Pa""ris, sud",no')
    yield "039_crlf.csv", GOOD, "OK", table(end="\r\n")
    yield "040_cr_only.csv", GOOD, "OK", table(end="\r")
    yield "041_mixed_eol.csv", GOOD, "OK", mixed
    yield "043_tab.csv", GOOD, "OK", table().replace(",", "\t")
    yield "044_pipe.csv", GOOD, "OK", table().replace(",", "|")
    yield "045_sep_line.csv", GOOD, "OK", "sep=;\n" + table().replace(",", ";")
    yield "056_total_row.csv", PARTLY, "ROW_TYPE", table([*lines(), "TOTAL,129999,,"])
    yield "060_huge_field_8mb.csv", PARTLY, "ROW_FIELD_TOO_LONG", swapped(f"30,1000,{'x' * (8 << 20)},no")
    yield "107_zalgo_long_graphemes.csv", PARTLY, "ROW_FIELD_TOO_LONG", swapped(f"30,1000,a{chr(0x301) * 5000},no")
    log = '31,1000,"Paris\n{""level"":""INFO"",""message"":""fake""}",yes'
    yield "106_ansi_log_injection.csv", GOOD, "OK", swapped("30,1000,\x1b[2J\x1b[31mPWNED,no", log)


def _names() -> Iterator[Row]:
    wide = ",".join(f"c{n}" for n in range(20_000))
    yield "047_no_header.csv", REFUSED, "HEADER_MISSING", "\n".join(lines()) + "\n"
    yield "048_duplicate_headers.csv", PARTLY, "COLUMN_DUPLICATE_NAME", table(header="age,age,city,label")
    yield "049_duplicate_target.csv", REFUSED, "TARGET_AMBIGUOUS", table(header="age,label,city,label")
    yield "051_nfc_nfd_headers.csv", PARTLY, "COLUMN_DUPLICATE_NAME", table(header="\u00e9,e\u0301,city,label")
    yield "052_empty_header_name.csv", PARTLY, "COLUMN_EMPTY_NAME", table(header="age,,city,label")
    yield "053_whitespace_headers.csv", GOOD, "OK", table(header=" age , income,city , label ")
    yield "055_trailing_delimiter.csv", PARTLY, "COLUMN_ALL_NULL", table([r + "," for r in lines()], HEADER + ",")
    yield "057_many_columns_20k.csv", REFUSED, "TOO_MANY_COLUMNS", table([",".join("1" * 20_000)] * 12, wide)
    yield "100_hostile_headers.csv", GOOD, "OK", table(header="__proto__,constructor,'); DROP TABLE t;--,label")
    yield "102_path_headers.csv", GOOD, "OK", table(header="../../etc/passwd,C:\\\\x,con,label")
    tags = '<img src=x onerror=alert(1)>,"<script>alert(1)</script>",b,label'
    yield "103_html_headers.csv", GOOD, "OK", table(header=tags)
    yield "104_long_header.csv", REFUSED, "COLUMN_NAME_TOO_LONG", table(header=f"{'a' * 100_000},income,city,label")


def _packed() -> Iterator[Row]:
    plain = gzip.compress(table().encode(), mtime=0)
    doubled = plain + gzip.compress("\n".join([*lines(), ""]).encode(), mtime=0)
    packer = zlib.compressobj(6, wbits=31)
    rows = b"30,1000,Paris,no\n" * 183_500
    bomb = packer.compress(table().encode()) + b"".join(packer.compress(rows) for _ in range(100)) + packer.flush()
    yield "059_one_huge_line.csv.gz", REFUSED, "LINE_TOO_LONG", gzip.compress(b"x" * (64 << 20), 6, mtime=0)
    yield "061_gz_bomb.csv.gz", REFUSED, "EXPANSION_RATIO", bomb
    yield "063_gz_concatenated.csv.gz", GOOD, "OK", doubled
    yield "064_gz_trailing_garbage.csv.gz", REFUSED, "ARCHIVE_CORRUPT", plain + b"garbage" * 50
    yield "065_double_gz.csv.gz", REFUSED, "NESTED_COMPRESSION", gzip.compress(plain, mtime=0)


def _variants() -> Iterator[Row]:
    """More of the same kinds: other delimiters, encodings, places, sizes."""
    yield "900_semicolon.csv", GOOD, "OK", table().replace(",", ";")
    yield "901_utf16le_bom.csv", GOOD, "OK", table().encode("utf-16")
    yield "902_utf16be_nobom.csv", REFUSED, "ENCODING_UNKNOWN", table().encode("utf-16-be")
    yield "903_utf32be.csv", REFUSED, "ENCODING_UNSUPPORTED", b"\x00\x00\xfe\xff" + table().encode("utf-32-be")
    yield (
        "904_gb18030.csv",
        GOOD,
        "OK",
        series("年龄,城市,标签", "{n},北京市朝阳区第{t}街道,{p}", 200).encode("gb18030"),
    )
    yield "905_only_spaces.csv", REFUSED, "EMPTY_FILE", " \n\n \n"
    yield "906_ragged_first.csv", PARTLY, "ROW_RAGGED", swapped("30,1000,Paris", at=0)
    yield "907_ragged_last.csv", PARTLY, "ROW_RAGGED", swapped("30,1000,Paris,no,X", at=59)
    yield "908_nul_in_last_row.csv", PARTLY, "ROW_NUL_BYTE", swapped("30,1000,\x00Paris,no", at=59)
    yield "909_49_rows.csv", REFUSED, "TOO_FEW_ROWS", table(lines(49))
    yield "910_50_rows.csv", GOOD, "OK", table(lines(50))
    yield "911_zip_named.csv", REFUSED, "TYPE_MISMATCH", b"PK\x03\x04" + bytes(200)
    yield "912_pdf_named.csv", REFUSED, "TYPE_MISMATCH", b"%PDF-1.7\n" + bytes(200)
    yield "913_name_256.csv", GOOD, "OK", table(header=f"{'a' * 256},income,city,label")
    yield "914_name_257.csv", REFUSED, "COLUMN_NAME_TOO_LONG", table(header=f"{'a' * 257},income,city,label")
