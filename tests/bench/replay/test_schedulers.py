from typing import get_args

import pytest

from bench.errors import UserError
from bench.options.replay import SCHEDULER_NAMES
from bench.replay.profiles import DEFAULT_PROFILE, latency_profile
from bench.replay.schedulers import SCHEDULERS, settings_of
from scheduler.settings import PolicyName, SchedulerSettings

PROFILE = latency_profile(DEFAULT_PROFILE)


def test_the_command_offers_every_policy_and_the_ceiling() -> None:
    assert tuple(SCHEDULERS) == SCHEDULER_NAMES
    assert set(SCHEDULERS) == {*get_args(PolicyName), "ceiling"}


@pytest.mark.parametrize("name", get_args(PolicyName))
def test_a_policy_is_called_what_its_settings_call_it(make_cell, name) -> None:
    assert settings_of(make_cell(scheduler=name), PROFILE).policy == name


def test_settings_are_the_defaults_where_nothing_is_set(make_cell) -> None:
    assert settings_of(make_cell(), PROFILE) == SchedulerSettings()


def test_with_offload_the_policy_knows_the_link(make_cell) -> None:
    settings = settings_of(make_cell(resume="offload"), PROFILE)
    assert settings.resume == "offload"
    assert settings.transfer_s_per_token == PROFILE.transfer_s_per_token


def test_a_set_field_counts(make_cell) -> None:
    cell = make_cell(settings={"replan_period_s": "0.25", "report_period_s": "2"})
    settings = settings_of(cell, PROFILE)
    assert (settings.replan_period_s, settings.report_period_s) == (0.25, 2.0)


def test_an_unknown_field_is_refused_with_the_known_ones(make_cell) -> None:
    with pytest.raises(UserError, match="--set speed is invalid") as refused:
        settings_of(make_cell(settings={"speed": "9"}), PROFILE)
    for name in set(SchedulerSettings.model_fields) - {"policy", "resume"}:
        assert name in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("replan_period_s", "-1", "--set replan_period_s=-1 is invalid: input should be"),
        ("replan_period_s", "soon", "--set replan_period_s=soon is invalid: input should"),
        ("policy", "fcfs", "--set policy is invalid: --scheduler decides it"),
        ("resume", "offload", "--set resume is invalid: --resume decides it"),
    ],
)
def test_a_bad_override_is_one_sentence(make_cell, field, value, message) -> None:
    with pytest.raises(UserError, match=message) as refused:
        settings_of(make_cell(settings={field: value}), PROFILE)
    assert "\n" not in str(refused.value)
