"""Made-up tables with the columns of the worked examples: the real ones may be looked at, but not passed on.

Levels, ranges and shares are about those of the real tables; the rows are drawn, and what they show means nothing.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

CITIES, SEXES, COLOURS = ("Chicago", "Boston"), ("f", "m"), ("white", "black")
INDUSTRIES = ("manufacturing", "transportation", "finance", "trade", "service")
JOBS = ("secretary", "clerical", "manager", "supervisor", "sales_rep")
FLAGS = (
    *("college_degree", "honors", "worked_during_school", "computer_skills", "special_skills", "volunteer"),
    *("military", "employment_holes", "has_email_address"),
)


def charity(path: Path, rows: int = 400, seed: int = 1) -> Path:
    """People a charity has written to: how they answered before, and whether they answer again."""
    draw = np.random.default_rng(seed)
    rate_n = draw.beta(2, 2, rows).round(2)
    answers_n = draw.random(rows) < 0.1 + 0.6 * rate_n
    last_n = draw.choice([5, 10, 25, 50], rows)
    columns = {
        "respond": answers_n.astype(int),
        "gift": np.where(answers_n, last_n, 0),
        "resplast": (draw.random(rows) < rate_n).astype(int),
        "weekslast": draw.integers(10, 180, rows) / 1.5,
        "propresp": rate_n,
        "mailsyear": draw.choice([1.5, 1.75, 2.0, 2.25, 2.5], rows),
        "giftlast": last_n,
        "avggift": last_n + draw.normal(0, 2, rows).round(2),
    }
    return _written(path, columns)


def resume(path: Path, rows: int = 600, seed: int = 1) -> Path:
    """CVs sent to employers: the advertisement, the person made up, and whether anybody called back."""
    draw = np.random.default_rng(seed)
    colour_n, sex_n = draw.choice(COLOURS, rows), draw.choice(SEXES, rows, p=(0.75, 0.25))
    flags = {name: draw.integers(0, 2, rows) for name in FLAGS}
    called_n = draw.random(rows) < 0.03 + 0.12 * flags["special_skills"] + 0.03 * (colour_n == "white")
    asked = ("any", "communication", "education", "computer", "organization")
    columns = {
        "job_ad_id": np.arange(rows) // 4,
        "job_city": draw.choice(CITIES, rows),
        "job_industry": draw.choice(INDUSTRIES, rows),
        "job_type": draw.choice(JOBS, rows),
        "job_fed_contractor": draw.choice(["", "0.0", "1.0"], rows),
        "job_equal_opp_employer": draw.integers(0, 2, rows),
        "job_ownership": draw.choice(["private", "unknown", "public", "nonprofit"], rows),
        **{f"job_req_{name}": draw.integers(0, 2, rows) for name in asked},
        "job_req_min_experience": draw.choice(["", "some", "2", "5"], rows),
        "job_req_school": draw.choice(["none_listed", "college"], rows),
        "received_callback": called_n.astype(int),
        "firstname": [f"{colour} {sex}" for colour, sex in zip(colour_n, sex_n, strict=True)],
        "race": colour_n,
        "gender": sex_n,
        "years_college": draw.integers(0, 5, rows),
        "years_experience": draw.integers(1, 26, rows),
        **flags,
        "resume_quality": draw.choice(["low", "high"], rows),
    }
    return _written(path, columns)


def _written(path: Path, columns: dict[str, Any]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path
