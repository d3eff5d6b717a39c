import math
import random
from dataclasses import replace

import pytest

from qoe import (
    PROFILES,
    Expectation,
    ExpectationError,
    expectation_or_default,
    is_sheddable,
    parse_expectation,
    reader_or_default,
)

DEFAULT = Expectation(2.0, 3.0)


def test_a_request_that_says_nothing_gets_the_default() -> None:
    assert parse_expectation(None, DEFAULT) is DEFAULT
    assert parse_expectation({"other": 1}, DEFAULT) is DEFAULT


def test_a_field_overrides_one_value_of_its_profile() -> None:
    assert parse_expectation({"qoe_tds": 7}, DEFAULT) == Expectation(2.0, 7.0)
    assert parse_expectation(
        {"qoe_profile": "listening", "qoe_ttft_s": 0.5}, DEFAULT
    ) == Expectation(0.5, 3.3)
    assert parse_expectation({"qoe_weight": 3}, DEFAULT) == Expectation(
        2.0, 3.0, weight=3.0
    )


def test_a_job_without_a_reader_counts_for_less_than_a_reader() -> None:
    job = parse_expectation({"qoe_profile": "none"}, DEFAULT)
    assert job.weight < DEFAULT.weight


@pytest.mark.parametrize("field", ["qoe_ttft_s", "qoe_tds", "qoe_weight", "qoe_patience_s"])
@pytest.mark.parametrize(
    "value",
    [
        "fast",
        "4.8",
        0,
        -1,
        math.nan,
        math.inf,
        -math.inf,
        1e300,
        10**400,
        True,
        [4.8],
        None,
    ],
    ids=lambda v: repr(v)[:12],
)
def test_a_bad_value_is_named_with_its_field_and_range(field: str, value: object) -> None:
    with pytest.raises(ExpectationError) as refused:
        parse_expectation({field: value}, DEFAULT)
    message = str(refused.value)
    assert message.startswith(f"{field}=")
    assert "from 0.01 to" in message
    assert len(message) < 200


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"qoe_speed": 3}, "qoe_speed"), ({"qoe_profile": "skimming"}, "'skimming'")],
)
def test_an_unknown_name_lists_the_known_ones(fields: dict, named: str) -> None:
    with pytest.raises(ExpectationError, match=named) as refused:
        parse_expectation(fields, DEFAULT)
    assert "reading" in str(refused.value) or "qoe_profile" in str(refused.value)


def test_an_unhashable_profile_is_refused_not_raised() -> None:
    with pytest.raises(ExpectationError):
        parse_expectation({"qoe_profile": ["reading"]}, DEFAULT)


@pytest.mark.parametrize("name", PROFILES)
def test_a_population_adds_up_and_draws_from_its_groups(name: str) -> None:
    profile = PROFILES[name]
    assert sum(share for share, _ in profile.mix) == pytest.approx(1.0)
    paces = {tds for _, tds in profile.mix}
    rng = random.Random(7)
    assert {profile.sample(rng).tds for _ in range(500)} == paces


def test_inside_the_engine_a_bad_field_means_the_default() -> None:
    assert expectation_or_default({"qoe_tds": "fast"}, DEFAULT) is DEFAULT
    assert expectation_or_default({"qoe_tds": 7}, DEFAULT) == Expectation(2.0, 7.0)


def test_a_patience_is_the_requests_or_the_deployments_whatever_the_profile() -> None:
    patient = replace(DEFAULT, patience_s=9.0)
    assert parse_expectation({"qoe_tds": 7}, DEFAULT).patience_s is None
    for fields, patience_s in (
        ({"qoe_tds": 7}, 9.0),
        ({"qoe_profile": "none"}, 9.0),
        ({"qoe_patience_s": 2}, 2.0),
        ({"qoe_profile": "none", "qoe_patience_s": 2}, 2.0),
    ):
        assert parse_expectation(fields, patient).patience_s == patience_s
        in_one_piece = reader_or_default(fields, patient, is_stream=False)
        assert in_one_piece.patience_s == patience_s
    assert reader_or_default(None, patient, is_stream=False).patience_s == 9.0


@pytest.mark.parametrize("value", [True, 1])
def test_a_request_may_say_that_it_would_rather_be_refused(value) -> None:
    fields = {"qoe_sheddable": value}
    assert parse_expectation(fields, DEFAULT) == DEFAULT
    assert is_sheddable(fields)
    assert not is_sheddable({"qoe_sheddable": False})
    assert not is_sheddable({})


@pytest.mark.parametrize("value", ["yes", 2, None, [], {}])
def test_sheddable_is_true_or_false(value) -> None:
    with pytest.raises(ExpectationError, match=r"qoe_sheddable.*true or false"):
        parse_expectation({"qoe_sheddable": value}, DEFAULT)


@pytest.mark.parametrize(
    ("fields", "reader"),
    [
        (None, PROFILES["none"].expectation),
        ({"somebody": "else's"}, PROFILES["none"].expectation),
        ({"qoe_weight": 3}, replace(PROFILES["none"].expectation, weight=3.0)),
        ({"qoe_tds": 7}, Expectation(2.0, 7.0)),
        ({"qoe_ttft_s": 4}, replace(DEFAULT, ttft_s=4.0)),
        ({"qoe_profile": "reading"}, PROFILES["reading"].expectation),
        ({"qoe_tds": "fast"}, DEFAULT),
    ],
)
def test_an_answer_in_one_piece_has_a_reader_only_if_it_says_so(fields, reader) -> None:
    assert reader_or_default(fields, DEFAULT, is_stream=False) == reader
    streamed = reader_or_default(fields, DEFAULT, is_stream=True)
    assert streamed == expectation_or_default(fields, DEFAULT)


@pytest.mark.parametrize(
    "name", ["qoe_" + "x" * 1000, "qoe_\n", "qoe_\ud800", "qoe_\x1b[2J"]
)
def test_a_name_that_somebody_made_up_is_quoted_in_one_short_line(name: str) -> None:
    with pytest.raises(ExpectationError) as refused:
        parse_expectation({name: 1}, DEFAULT)
    message = str(refused.value)
    assert message.startswith(f"{refused.value.field}=1 is invalid")
    assert message.isprintable()
    assert len(message) < 300
