"""Which times are taken: those EventBridge Scheduler takes, and nothing it would refuse or never reach."""

from __future__ import annotations

import pytest

from tidemill.core.errors import BadSpec
from tidemill.core.spec import Spec, to_toml
from tidemill.core.timetable import check_timetable

RIGHT = [
    *("", "rate(1 minute)", "rate(7 days)", "rate(12 hours)", "cron(0 3 ? * MON *)", "cron(0/15 * * * ? *)"),
    *("cron(0 8 1 * ? 2027)", "cron(5,10 8-17 ? JAN-MAR MON-FRI *)", "cron(0 0 L * ? *)", "cron(0 0 ? * 2#1 *)"),
]
WRONG = {
    "7 days": "neither",
    "rate(0 days)": "never",
    "rate(7 day)": "write days",
    "rate(1 days)": "write day",
    "rate(2 weeks)": "minutes, hours or days",
    "rate(1.5 hours)": "whole number",
    "cron(0 3 * * MON)": "6 fields",
    "cron(0 3 * * MON *)": "one of the two days",
    "cron(0 3 ? * ? *)": "one of the two days",
    "cron(60 3 ? * MON *)": "no minutes",
    "cron(0 24 ? * MON *)": "no hours",
    "cron(0 3 32 * ? *)": "no day of the month",
    "cron(0 3 ? 13 MON *)": "no month",
    "cron(0 3 ? * 8 *)": "no day of the week",
    "cron(0 3 ? * FRI-MON *)": "no day of the week",
    "cron(0 3 ? * MON 1969)": "no year",
    "cron(0/0 3 ? * MON *)": "no minutes",
    "at(2027-01-01T00:00:00)": "neither",
}


@pytest.mark.parametrize("text", RIGHT)
def test_a_time_the_scheduler_takes_is_taken(text: str) -> None:
    assert check_timetable(text, "[schedule] retrain") == text
    spec = Spec.from_json({"schedule": {"retrain": text}})
    assert spec.schedule.retrain == text and Spec.from_toml(to_toml(spec)) == spec


@pytest.mark.parametrize("text", WRONG)
def test_a_time_it_would_refuse_is_refused_with_place_value_reason_and_remedy(text: str) -> None:
    with pytest.raises(BadSpec) as caught:
        Spec.from_json({"schedule": {"monitor": text}})
    said = caught.value
    assert "[schedule] monitor" in said.message and text[:20] in said.message
    assert WRONG[text] in said.message and "rate(7 days)" in said.remedy
