import pytest

from bench.errors import UserError
from bench.options.replay import SCHEDULER_NAMES
from bench.replay.profiles import DEFAULT_PROFILE, latency_profile
from bench.replay.schedulers import SCHEDULERS, settings_of
from scheduler.policies import policy_for
from scheduler.settings import SchedulerSettings

PROFILE = latency_profile(DEFAULT_PROFILE)


def test_the_command_offers_every_scheduler_and_each_is_its_own() -> None:
    assert tuple(SCHEDULERS) == SCHEDULER_NAMES
    assert len(set(SCHEDULERS.values())) == len(SCHEDULERS)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_name_stands_for_a_policy_that_can_be_made(make_cell, name) -> None:
    settings = settings_of(make_cell(scheduler=name), PROFILE)
    assert settings.policy == SCHEDULERS[name]
    assert (policy_for(settings) is None) is (name == "fcfs")


def test_any_other_policy_is_its_own_name(make_cell) -> None:
    name = "evidence.baselines.paper:PaperExact"
    assert settings_of(make_cell(scheduler=name), PROFILE).policy == name


def test_a_name_of_no_policy_is_refused_by_its_option(make_cell) -> None:
    with pytest.raises(UserError, match="--scheduler=sjf is invalid: input should be"):
        settings_of(make_cell(scheduler="sjf"), PROFILE)


def test_settings_are_the_defaults_where_nothing_is_set(make_cell) -> None:
    assert settings_of(make_cell(), PROFILE) == SchedulerSettings()


def test_with_offload_the_policy_knows_the_link(make_cell) -> None:
    settings = settings_of(make_cell(resume="offload"), PROFILE)
    assert settings.resume == "offload"
    assert settings.transfer_s_per_token == PROFILE.transfer_s_per_token


def test_a_set_field_counts(make_cell) -> None:
    cell = make_cell(settings={"max_throughput_loss": "0.25", "report_period_s": "2"})
    settings = settings_of(cell, PROFILE)
    assert (settings.max_throughput_loss, settings.report_period_s) == (0.25, 2.0)


def test_an_unknown_field_is_refused_with_the_known_ones(make_cell) -> None:
    with pytest.raises(UserError, match="--set speed is invalid") as refused:
        settings_of(make_cell(settings={"speed": "9"}), PROFILE)
    for name in set(SchedulerSettings.model_fields) - {"policy", "resume"}:
        assert name in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("report_period_s", "-1", "--set report_period_s=-1 is invalid: input should be"),
        ("report_period_s", "soon", "--set report_period_s=soon is invalid: input should"),
        ("policy", "fcfs", "--set policy is invalid: --scheduler decides it"),
        ("resume", "offload", "--set resume is invalid: --resume decides it"),
    ],
)
def test_a_bad_override_is_one_sentence(make_cell, field, value, message) -> None:
    with pytest.raises(UserError, match=message) as refused:
        settings_of(make_cell(settings={field: value}), PROFILE)
    assert "\n" not in str(refused.value)
