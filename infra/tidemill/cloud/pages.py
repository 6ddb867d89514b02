"""Pages that are made of tables in the code: `make pages` writes them, a test fails when they drift."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from tidemill.core.limits import LIMITS
from tidemill.core.reasons import reasons

ROOT = Path(__file__).resolve().parents[3]
AREAS = {
    "upload": "Why a file was refused · 为何拒绝文件",
    "row": "Why a row or a file of an archive was set aside · 为何隔离某行或成员",
    "column": "What was noticed in the data · 数据提示",
    "training": "How a run ended, and what its card warns of · 运行结果与提醒",
    "gate": "Why a version serves, or does not · 为何上线或未上线",
    "request": "Why a call was refused · 为何拒绝请求",
    "wait": "Why a run waits · 为何等待",
}


def reasons_page() -> str:
    """Every reason code in both languages, by where it comes up."""
    lines = [
        "# Reason codes · 原因代码",
        "",
        "Codes are stable; the messages of the product say the same with the value at hand. `tidemill why CODE` shows",
        "one. Made of `core/reasons.toml` by `make pages`.",
    ]
    for area, found in groupby(reasons().values(), key=lambda reason: reason.area):
        lines += ["", f"## {AREAS[area]}", "", "| code | what, and what to do | 含义与办法 |", "|---|---|---|"]
        lines += [
            f"| `{one.code}` | {one.sentence} {one.remedy} | {one.sentence_zh}{one.remedy_zh} |".replace("\n", " ")
            for one in found
        ]
    return "\n".join(lines) + "\n"


def limits_page() -> str:
    """Every limit with its unit and reason."""
    lines = [
        "# Limits",
        "",
        "What is read, asked and waited for is bounded; this is the one table of it, `core/limits.py`, as `make pages`",
        "writes it down.",
        "",
        "| limit | value | unit | why |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{name}` | {one.value:,} | {one.unit} | {one.reason} |" for name, one in LIMITS.items()]
    return "\n".join(lines) + "\n"


PAGES = {"layers/core/REASONS.md": reasons_page, "layers/core/LIMITS.md": limits_page}


def main() -> None:
    """Write them."""
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
