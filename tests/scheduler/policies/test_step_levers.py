import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policies.step_levers import MIN_PREFILL_TOKENS, paused, token_budget
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import NOBODY, StepTime

SETTINGS = SchedulerSettings()

# Five tokens a second: a step may take 0.2 s. Four streams take 0.18 s, six 0.26 s.
SLOW = StepTime(base_s=0.02, per_stream_s=0.04, prefill_s_per_token=1e-4)
ABOUT_TO_NOTICE = {"tokens": 1, "last_token_s": 0.1}  # slack 0.1 s
PATIENT = {"tokens": 5}  # slack 1 s


def buffered(slack_s: int) -> dict[str, int]:
    return {"tokens": 5 * slack_s}


BUFFERED = [buffered(s) for s in (6, 12, 8)]


def test_nobody_sits_out_a_step_that_is_faster_than_the_strictest_reader(
    snapshot_of,
) -> None:
    snapshot = snapshot_of([ABOUT_TO_NOTICE, *BUFFERED], step_time=SLOW)
    assert paused(snapshot, SETTINGS).size == 0


def test_only_as_many_as_it_takes_sit_out_the_fullest_first(snapshot_of) -> None:
    running = [ABOUT_TO_NOTICE, PATIENT, PATIENT, *BUFFERED]
    chosen = paused(snapshot_of(running, step_time=SLOW), SETTINGS)
    assert chosen.tolist() == [4, 5]
    assert SLOW.step_s(6 - chosen.size) <= 0.2 < SLOW.step_s(6 - chosen.size + 1)


def test_the_strictest_reader_sets_how_slow_a_step_may_be(snapshot_of) -> None:
    # At this pace a step may take 0.125 s: two streams of these five.
    running = [ABOUT_TO_NOTICE, {"tokens": 20, "tds": 8.0}, *BUFFERED]
    chosen = paused(snapshot_of(running, step_time=SLOW), SETTINGS)
    assert chosen.tolist() == [3, 4, 2]


def test_streams_without_the_buffer_for_it_never_sit_out(snapshot_of) -> None:
    running = [ABOUT_TO_NOTICE, *[PATIENT] * 8, buffered(4), buffered(6)]
    snapshot = snapshot_of(running, step_time=SLOW)
    assert paused(snapshot, SETTINGS).tolist() == [10]
    lenient = SETTINGS.model_copy(update={"min_pause_slack_s": 3.0})
    assert paused(snapshot, lenient).tolist() == [10, 9]


def test_nobody_sits_out_while_no_reader_is_about_to_notice(snapshot_of) -> None:
    snapshot = snapshot_of([PATIENT] * 3 + BUFFERED, step_time=SLOW)
    assert paused(snapshot, SETTINGS).size == 0


def test_streams_that_prefill_neither_sit_out_nor_count(snapshot_of) -> None:
    prefilling = {"tokens": 0}
    running = [ABOUT_TO_NOTICE, *BUFFERED, prefilling, prefilling]
    snapshot = snapshot_of(running, step_time=SLOW)
    assert snapshot.is_prefilling.tolist() == [False] * 4 + [True] * 2
    assert paused(snapshot, SETTINGS).size == 0


def test_nobody_sits_out_where_pauses_are_turned_off(snapshot_of) -> None:
    snapshot = snapshot_of([ABOUT_TO_NOTICE, PATIENT, *BUFFERED], step_time=SLOW)
    assert paused(snapshot, SETTINGS).size == 1
    off = SETTINGS.model_copy(update={"pauses": False})
    assert paused(snapshot, off).size == 0


@pytest.mark.parametrize("per_stream_s", [0.0, 0.04])
def test_nobody_sits_out_a_step_that_no_pause_would_shorten(
    snapshot_of, per_stream_s
) -> None:
    step_time = StepTime(0.5, per_stream_s, 1e-4)
    chosen = paused(
        snapshot_of([ABOUT_TO_NOTICE, *BUFFERED], step_time=step_time), SETTINGS
    )
    assert bool(chosen.size) == (per_stream_s > 0.0)


@given(seed=st.integers(0, 2**32))
def test_who_sits_out_is_chosen_by_buffer_alone(random_snapshot, seed) -> None:
    snapshot = random_snapshot(seed)
    chosen = paused(snapshot, SETTINGS)
    if chosen.size:
        decoding = np.flatnonzero(
            ~snapshot.is_prefilling[: snapshot.num_running],
        )
        others = np.setdiff1d(decoding, chosen)
        assert np.isin(chosen, decoding).all()
        assert (snapshot.slack_s[chosen] >= SETTINGS.min_pause_slack_s).all()
        assert snapshot.slack_s[others].max() <= snapshot.slack_s[chosen].min()


def test_a_prompt_waits_for_the_reader_who_would_notice(snapshot_of) -> None:
    snapshot = snapshot_of([ABOUT_TO_NOTICE, PATIENT], [{"prompt_tokens": 3000}])
    budget = token_budget(snapshot, SETTINGS, NOBODY)
    # 0.2 s, the pace of the readers, is 20 ms of decoding and 1800 tokens of prompt.
    assert budget == pytest.approx(1802, abs=1)


def test_a_buffer_pays_for_a_longer_step(snapshot_of) -> None:
    slow_prefill = StepTime(0.02, 0.0, 1e-3)
    snapshot = snapshot_of([PATIENT], [{}], step_time=slow_prefill)
    assert token_budget(snapshot, SETTINGS, NOBODY) == pytest.approx(981, abs=1)


def test_streams_that_sit_out_leave_their_time_to_the_prompt(snapshot_of) -> None:
    running = [ABOUT_TO_NOTICE, *BUFFERED]
    snapshot = snapshot_of(running, [{}], step_time=SLOW)
    with_all = token_budget(snapshot, SETTINGS, NOBODY)
    without_two = token_budget(snapshot, SETTINGS, np.array([1, 2]))
    assert with_all == 4 + MIN_PREFILL_TOKENS
    assert without_two == pytest.approx(2 + 1000, abs=1)


def test_the_engine_has_its_own_limit_while_nothing_is_computed_but_answers(
    snapshot_of,
) -> None:
    assert token_budget(snapshot_of([ABOUT_TO_NOTICE]), SETTINGS, NOBODY) is None
    with_prompt = snapshot_of([ABOUT_TO_NOTICE], [{}])
    assert token_budget(with_prompt, SETTINGS, NOBODY) is not None


def test_the_engine_has_its_own_limit_while_nobody_decodes(snapshot_of) -> None:
    prefilling = snapshot_of([{"tokens": 0}], [{}])
    assert token_budget(prefilling, SETTINGS, NOBODY) is None
    assert token_budget(snapshot_of([], [{}]), SETTINGS, NOBODY) is None
    sits_out = snapshot_of([ABOUT_TO_NOTICE], [{}])
    assert token_budget(sits_out, SETTINGS, np.array([0])) is None


def test_the_engine_has_its_own_limit_while_everybody_has_a_buffer(snapshot_of) -> None:
    assert token_budget(snapshot_of(BUFFERED, [{}]), SETTINGS, NOBODY) is None


def test_the_engine_has_its_own_limit_where_prompts_are_not_limited(snapshot_of) -> None:
    off = SETTINGS.model_copy(update={"limits_prefill": False})
    assert token_budget(snapshot_of([ABOUT_TO_NOTICE], [{}]), off, NOBODY) is None


@given(seed=st.integers(0, 2**32), engine_budget=st.integers(200, 4096))
def test_a_budget_is_the_most_that_is_in_time_but_lets_some_prompt_through(
    random_snapshot, seed, engine_budget
) -> None:
    snapshot = dataclasses.replace(random_snapshot(seed), token_budget=engine_budget)
    budget = token_budget(snapshot, SETTINGS, NOBODY)
    if budget is None:
        return
    assert budget < engine_budget
    decoding = np.flatnonzero(~snapshot.is_prefilling[: snapshot.num_running])
    num_prompt = budget - decoding.size
    assert num_prompt >= MIN_PREFILL_TOKENS
    strictest_s = 1.0 / snapshot.forecast.tds[decoding].max()
    allowed_s = max(snapshot.slack_s[decoding].min(), strictest_s)
    step_s, rounding_s = snapshot.step_time.step_s, 1e-9
    assert step_s(decoding.size, num_prompt + 1) > allowed_s - rounding_s
    if num_prompt > MIN_PREFILL_TOKENS:
        assert step_s(decoding.size, num_prompt) <= allowed_s + rounding_s
