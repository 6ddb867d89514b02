"""One table of prices: complete, dated, replaceable; a wrong one is refused with what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidemill.core import prices
from tidemill.core.prices import BadPrices, load

TEXT = prices.TABLE.read_text()


def changed(folder: Path, old: str, new: str) -> Path:
    assert old in TEXT
    path = folder / "mine.toml"
    path.write_text(TEXT.replace(old, new))
    return path


def test_the_table_says_when_where_and_in_what_currency_it_was_written() -> None:
    table = load()
    assert (len(table.date), table.region, table.currency) == (10, "us-east-1", "USD")


def test_another_table_changes_the_sums(tmp_path: Path) -> None:
    dearer = load(changed(tmp_path, "gb_second = 0.0000166667", "gb_second = 0.0000333334"))
    assert dearer.function(10, 1024, 0) == pytest.approx(2 * load().function(10, 1024, 0))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("spot_share = 0.5", "spot_part = 0.5", "training.spot_share"),
        ("million_writes = 0.625", 'million_writes = "cheap"', "dynamodb.million_writes is 'cheap'"),
        ("million_writes = 0.625", "million_writes = -1", "dynamodb.million_writes is -1"),
        ("million_writes = 0.625", "million_writes = nan", "dynamodb.million_writes is nan"),
        ('currency = "USD"', "", "currency"),
        ("[lambda]", "[lambda", "cannot be read"),
    ],
)
def test_a_wrong_table_is_refused_with_what_is_wrong(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(BadPrices, match=named) as refused:
        load(changed(tmp_path, old, new))
    assert refused.value.remedy


def test_a_table_without_machines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT[: TEXT.index("[training.instance_hour]")])
    with pytest.raises(BadPrices, match="no machine"):
        load(path)


def test_a_job_is_paid_for_at_least_a_minute_and_for_the_start_of_its_machine() -> None:
    table = load()
    start = table.of("training.start_s")
    hour = table.instances["g5.xlarge"]
    assert table.job(3600 - start, "g5.xlarge", spot=False) == pytest.approx(hour)
    assert table.job(0, "g5.xlarge", spot=False) == pytest.approx(hour / 3600 * max(60, start))
    assert table.job(100, "g5.xlarge") < table.job(100, "g5.xlarge", spot=False)


def test_a_machine_that_is_not_in_the_table_is_counted_as_the_dearest() -> None:
    table = load()
    assert table.job(100, "p99.huge") == table.job(100) == max(table.job(100, name) for name in table.instances)
