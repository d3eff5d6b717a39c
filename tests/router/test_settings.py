from typing import Any

import pytest

from router.settings import RouterSettings


def test_defaults_are_valid_and_every_key_can_be_given() -> None:
    given = {
        "max_report_age_s": 5,
        "ledger_ttl_s": 2.5,
        "chars_per_token": 3.1,
        "seed": 7,
    }
    assert RouterSettings.from_kwargs(given) == RouterSettings(5, 2.5, 3.1, 7)
    assert RouterSettings.from_kwargs({}) == RouterSettings()


@pytest.mark.parametrize("key", ["max_report_age_s", "ledger_ttl_s", "chars_per_token"])
@pytest.mark.parametrize(
    "value", [0, -1, 1e9, float("nan"), float("inf"), "10", None, True, [1]], ids=repr
)
def test_a_bad_number_is_refused_by_name_and_value(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key) as refused:
        RouterSettings.from_kwargs({key: value})
    assert f"{key}={value!r}" in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"policy": "best"},
        {"routers": 0},
        {"routers": True},
        {"prefix_precision": 1.1},
        {"max_hold_s": -0.1},
        {"default_tds": 0},
    ],
    ids=repr,
)
def test_what_is_out_of_range_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"={next(iter(given.values()))!r}"):
        RouterSettings.from_kwargs(given)


@pytest.mark.parametrize("value", ["1", 1.5, True])
def test_a_seed_is_an_int_or_nothing(value: Any) -> None:
    with pytest.raises(ValueError, match=f"seed={value!r}"):
        RouterSettings.from_kwargs({"seed": value})


def test_an_unknown_key_is_refused_by_name_and_value() -> None:
    with pytest.raises(ValueError, match=r"ledger_ttl='10' is no setting.*ledger_ttl_s"):
        RouterSettings.from_kwargs({"ledger_ttl": "10"})


@pytest.mark.parametrize("key", ["policy", "seed", "routers", "min_value", "\x1b[2J"])
def test_a_long_value_is_quoted_in_one_short_line(key: str) -> None:
    with pytest.raises(ValueError, match="x" * 30) as refused:
        RouterSettings.from_kwargs({key: "x" * 5000})
    assert len(str(refused.value)) < 500
    assert str(refused.value).isprintable()
