"""How much prompt a step computes beside readers who wait for their next token."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policies.prefill_limit import (
    MIN_PREFILL_TOKENS,
    STEP_MARGIN,
    token_budget,
)
from scheduler.snapshot import StepTime

# Five tokens a second: a step may take 0.2 s, and is planned for nine tenths of it.
ABOUT_TO_NOTICE = {"tokens": 1, "last_token_s": 0.1}  # slack 0.1 s
PATIENT = {"tokens": 5}  # slack 1 s
BUFFERED = [{"tokens": 5 * slack_s} for slack_s in (6, 12, 8)]


def test_a_prompt_waits_for_the_reader_who_would_notice(snapshot_of) -> None:
    snapshot = snapshot_of([ABOUT_TO_NOTICE, PATIENT], [{"prompt_tokens": 3000}])
    # 0.18 s are 20 ms of decoding and 1600 tokens of prompt.
    assert token_budget(snapshot) == pytest.approx(2 + 1600, abs=1)


def test_the_strictest_reader_sets_how_slow_a_step_may_be(snapshot_of) -> None:
    strict = {"tokens": 20, "tds": 8.0}
    snapshot = snapshot_of([ABOUT_TO_NOTICE, strict], [{}])
    # 0.9 of 0.125 s.
    assert token_budget(snapshot) == pytest.approx(2 + 925, abs=1)


def test_a_buffer_pays_for_a_longer_step(snapshot_of) -> None:
    slow_prefill = StepTime(0.02, 0.0, 1e-3)
    snapshot = snapshot_of([PATIENT], [{}], step_time=slow_prefill)
    # 0.9 of 1 s.
    assert token_budget(snapshot) == pytest.approx(1 + 880, abs=1)


def test_some_prompt_is_computed_however_late_the_readers_are(snapshot_of) -> None:
    slow_prefill = StepTime(0.02, 0.0, 0.1)
    snapshot = snapshot_of([ABOUT_TO_NOTICE], [{}], step_time=slow_prefill)
    assert token_budget(snapshot) == 1 + MIN_PREFILL_TOKENS


@pytest.mark.parametrize(
    ("running", "waiting"),
    [
        pytest.param([ABOUT_TO_NOTICE], [], id="no prompt"),
        pytest.param([{"tokens": 0}], [{}], id="nobody decodes"),
        pytest.param([], [{}], id="nobody runs"),
        pytest.param(BUFFERED, [{}], id="everybody has a buffer"),
        pytest.param([], [], id="nobody"),
    ],
)
def test_the_engine_has_its_own_limit_where_no_reader_would_notice(
    snapshot_of, running, waiting
) -> None:
    assert token_budget(snapshot_of(running, waiting)) is None


def test_an_unfinished_prompt_is_limited_as_one_that_waits(snapshot_of) -> None:
    assert token_budget(snapshot_of([ABOUT_TO_NOTICE, {"tokens": 0}])) is not None


@given(seed=st.integers(0, 2**32), engine_budget=st.integers(200, 4096))
def test_a_budget_is_the_most_that_is_in_time_but_lets_some_prompt_through(
    random_snapshot, seed, engine_budget
) -> None:
    snapshot = dataclasses.replace(random_snapshot(seed), token_budget=engine_budget)
    budget = token_budget(snapshot)
    if budget is None:
        return
    assert budget < engine_budget
    decoding = np.flatnonzero(~snapshot.is_prefilling[: snapshot.num_running])
    num_prompt = budget - decoding.size
    assert num_prompt >= MIN_PREFILL_TOKENS
    strictest_s = 1.0 / snapshot.forecast.tds[decoding].max()
    allowed_s = STEP_MARGIN * max(snapshot.slack_s[decoding].min(), strictest_s)
    step_s, rounding_s = snapshot.step_time.step_s, 1e-9
    assert step_s(decoding.size, num_prompt + 1) > allowed_s - rounding_s
    if num_prompt > MIN_PREFILL_TOKENS:
        assert step_s(decoding.size, num_prompt) <= allowed_s + rounding_s
