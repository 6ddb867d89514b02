"""Personal data is recognised by what it is, told, and left out or refused where that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import BadTable
from tidemill.core.prepare import private
from tidemill.core.prepare.evidence import Evidence

N = 200


def luhn(body: str) -> str:
    """A number with Luhn's digit behind it."""
    return next(body + str(digit) for digit in range(10) if private.is_card_number(body + str(digit)))


def identity(number: int) -> str:
    """A Chinese resident identity number of nobody."""
    body = f"11010119{number % 90 + 10}{number % 12 + 1:02}{number % 28 + 1:02}{number % 999:03}"
    return next(body + end for end in "0123456789X" if private.is_identity_number(body + end))


def iban(number: int) -> str:
    """An IBAN of nobody."""
    return next(made for check in range(100) if private.is_iban(made := f"DE{check:02}50010517{number:010}"))


PERSONAL = {
    "e-mail addresses": lambda n: f"user{n}@example.test",
    "social security numbers": lambda n: f"{n % 600 + 1:03}-{n % 90 + 10}-{n + 1000}",
    "identity card numbers": identity,
    "payment card numbers": lambda n: luhn(f"42424242{n * 7919 % 10**7:07}"),
    "bank account numbers": iban,
    "telephone numbers": lambda n: f"+44 20 {7000 + n} {n * 37 % 10_000:04}",
}
MOBILES = [f"1{3 + n % 7}{n % 10}{n * 7919 % 10**8:08}" for n in range(N)]
ORDINARY = {
    "order_id": [f"{10**9 + n}" for n in range(N)],
    "counter": [f"{13800000000 + n}" for n in range(N)],
    "eighteen": [f"{110101199003070000 + n}" for n in range(N)],
    "sixteen": [f"{4242424242420000 + n * 7}" for n in range(N)],
    "milliseconds": [f"{1_700_000_000_000 + n * 997}" for n in range(N)],
    "date": [f"2024-{n % 12 + 1:02}-{n % 28 + 1:02}" for n in range(N)],
    "date_behind": [f"{n % 28 + 1:02}-{n % 12 + 1:02}-2024" for n in range(N)],
    "amount": [f"{n * 12.37:,.2f}" for n in range(N)],
    "signed": [f"+{n * 1.5:.2f}" for n in range(N)],
    "code": [f"DE{n:02}AB{n:014}" for n in range(N)],
    "ip": [f"10.0.{n}.1" for n in range(N)],
    "word": [f"word {n % 9}" for n in range(N)],
}


def evidence(name: str, cells: list[str]) -> Evidence:
    """What is gathered of a column."""
    found = Evidence(name)
    found.add(pa.array(cells))
    return found


def table(**columns: list[str]) -> str:
    """CSV of columns beside a number and a label."""
    lines, cells = [",".join([*columns, "x", "label"])], zip(*columns.values(), strict=True)
    lines += [",".join([*row, str(n % 9), "yes" if n % 3 else "no"]) for n, row in enumerate(cells)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("kind", PERSONAL)
def test_each_kind_is_recognised_whatever_the_column_is_called(kind: str) -> None:
    assert private.kinds_of(evidence("a", [PERSONAL[kind](n) for n in range(N)])) == [kind]


def test_chinese_mobiles_are_recognised_without_a_name_and_with_one_even_when_few() -> None:
    assert private.kinds_of(evidence("a", MOBILES)) == ["telephone numbers"]
    assert private.kinds_of(evidence("手机", MOBILES[:3])) == ["telephone numbers"]


def test_social_security_numbers_that_nobody_has_need_a_telling_name() -> None:
    cells = [f"000-00-{n:04}" for n in range(N)]
    for name in ("ssn", "customer_SSN", "Social Security No"):
        assert private.kinds_of(evidence(name, cells)) == ["social security numbers"]
    assert private.kinds_of(evidence("lessn", cells)) == private.kinds_of(evidence("part", cells)) == []


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_columns_are_not_taken_for_personal_data(name: str) -> None:
    found = evidence(name, ORDINARY[name])
    assert not private.kinds_of(found) and not private.kinds_inside(found)


@given(st.integers(0, 10**16), st.integers(1, 16), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_a_wrong_digit_is_noticed_by_every_check(number: int, place: int, more: int) -> None:
    for made, right in (
        (luhn(f"4{number % 10**14:014}"), private.is_card_number),
        (identity(number), private.is_identity_number),
        (iban(number % 10**10), private.is_iban),
    ):
        at = len(made) - 1 - place % 9 - (made[-1] == "X")
        wrong = made[:at] + str((int(made[at]) + more) % 10) + made[at + 1 :]
        assert right(made) and not right(wrong)


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_looked_at_without_an_error(text: str) -> None:
    found = evidence("a", [text, "some " + text])
    assert isinstance(private.kinds_of(found), list) and isinstance(private.kinds_inside(found), dict)


def test_drop_leaves_such_columns_out_says_so_and_makes_another_dataset(make: Callable[..., Any]) -> None:
    content = table(mail=[f"u{n}@example.test" for n in range(N)], level=["ab"[n % 2] for n in range(N)])
    kept, left = make(content), make(content, privacy={"pii": "drop"}, data={"groups": ["mail"]})
    assert {c["name"]: c["reason"] for c in left.schema["columns"]}["mail"] == "private"
    (warned,) = [w for w in left.profile["warnings"] if w["code"] == "WARN_PII"]
    assert warned["column"] == "mail" and "left out" in warned["message"]
    assert kept.dataset != make(content, privacy={"pii": "drop"}).dataset
    assert kept.dataset == make(content, privacy={"pii": "keep"}).dataset
    assert not any(b"example.test" in path.read_bytes() for path in left.folder.iterdir())


def test_keep_learns_from_such_a_column_and_shows_none_of_its_values(make: Callable[..., Any]) -> None:
    kept = make(table(mail=[f"u{n % 20}@example.test" for n in range(N)]))
    (column,) = [column for column in kept.schema["columns"] if column["name"] == "mail"]
    assert (column["role"], column["levels"], column["distinct"]) == ("feature", [], 20)
    assert "example.test" not in str(kept.profile) + str(kept.schema)


def test_drop_never_takes_a_private_column_back_for_want_of_others(make: Callable[..., Any]) -> None:
    content = "mail,label\n" + "".join(f"u{n % 50}@example.test,{'yes' if n % 3 else 'no'}\n" for n in range(N))
    with pytest.raises(BadTable) as caught:
        make(content, privacy={"pii": "drop"})
    assert caught.value.reason()["code"] == "NO_FEATURES"


@pytest.mark.parametrize(
    ("pii", "data"), [("reject", {}), ("drop", {"target": "mail"}), ("reject", {"target": "mail"})]
)
def test_a_file_is_refused_without_showing_a_value(pii: str, data: dict[str, Any], make: Callable[..., Any]) -> None:
    with pytest.raises(BadTable) as caught:
        make(table(mail=[f"u{n % 9}@example.test" for n in range(N)]), privacy={"pii": pii}, data=data)
    reason = caught.value.reason()
    assert reason["code"] == "PII_FOUND" and "'mail'" in reason["message"] and "example.test" not in str(reason)


def test_what_was_left_out_by_name_does_not_refuse_the_file(make: Callable[..., Any]) -> None:
    content = table(mail=[f"u{n}@example.test" for n in range(N)])
    assert make(content, privacy={"pii": "reject"}, data={"drop": ["mail"]}).schema["rows"]


def test_personal_data_inside_texts_is_counted_and_refused_on_request(make: Callable[..., Any]) -> None:
    notes = [f"please write to u{n}@example.test about case {n % 7} soon" for n in range(N)]
    (warned,) = [w for w in make(table(note=notes)).profile["warnings"] if w["code"] == "WARN_PII_INSIDE"]
    assert "e-mail addresses in 64" in warned["message"] and "example.test" not in str(warned)
    with pytest.raises(BadTable, match="e-mail"):
        make(table(note=notes), privacy={"pii": "reject"})
