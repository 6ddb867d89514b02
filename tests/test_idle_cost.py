"""The idle bill counts what the template has, and no resource may come in unnoticed that costs while nobody uses it."""

from __future__ import annotations

import pytest

from tidemill.cloud import idle
from tidemill.cloud.expand import ROOT
from tidemill.core import prices

LINES = {line.what: line for line in idle.bill(prices.load())}


def test_every_kind_of_resource_is_known_to_be_free_or_counted() -> None:
    assert idle.unknown() == set()


def test_queues_are_asked_for_work_all_month() -> None:
    line = LINES["empty queues asked for work"]
    assert line.count >= 3
    assert line.usd == pytest.approx(line.count * 5 * 730 * 180 / 1e6 * 0.40)


def test_alarms_are_paid_by_the_metric() -> None:
    line = LINES["alarms"]
    metrics = int(line.why.split()[0])
    assert metrics > line.count  # one of them adds up several
    assert line.usd == pytest.approx(metrics * 0.10)


def test_the_sweep_is_paid_for_though_it_finds_nothing() -> None:
    line = LINES["schedules that find nothing to do"]
    assert line.count == 1
    assert line.why.startswith("4,380 calls a month"), "every ten minutes"


def test_the_readme_tells_the_sum() -> None:
    readme = (ROOT / "README.md").read_text()
    total = sum(line.usd for line in LINES.values())
    assert f"{total:.2f} USD a month" in readme
    assert prices.load().date in readme


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [("rate(10 minutes)", 600), ("rate(1 hour)", 3600), ("rate(7 days)", 604_800), ("cron(0 3 * * ? *)", 3600)],
)
def test_a_schedule_s_calls_follow_from_its_expression(expression: str, seconds: float) -> None:
    assert idle.rate_s(expression) == seconds
