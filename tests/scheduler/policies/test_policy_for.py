"""Which policy the settings name, and how a name that is none is refused."""

import pytest
from pydantic import ValidationError

from evidence.baselines.paper import PaperLongHorizon
from scheduler.outlook import HORIZON_S
from scheduler.policies import AndesPolicy, policy_for
from scheduler.settings import SETTINGS_ENV, SchedulerSettings

IMPORTED = f"{PaperLongHorizon.__module__}:{PaperLongHorizon.__qualname__}"


def test_with_fcfs_there_is_no_policy() -> None:
    assert policy_for(SchedulerSettings(policy="fcfs")) is None


def test_ours_is_the_default() -> None:
    assert isinstance(policy_for(SchedulerSettings()), AndesPolicy)


def test_an_import_string_is_a_policy_in_the_engine_process_too() -> None:
    said = SchedulerSettings(policy=IMPORTED, resume="offload")
    settings = SchedulerSettings.from_environment({SETTINGS_ENV: said.model_dump_json()})
    assert policy_for(settings) == PaperLongHorizon(said)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("lqsf", "names no class", id="a name of another time"),
        pytest.param("", "names no class", id="nothing"),
        pytest.param(3, "names no class", id="no text"),
        pytest.param("scheduler.settings", "names no class", id="a module"),
        pytest.param("a:b:c", "names no class", id="two colons"),
        pytest.param("no_such_room:Policy", "No module named 'no_such_room'", id="module"),
        pytest.param("scheduler.snapshot:Nobody", "no attribute 'Nobody'", id="attribute"),
        pytest.param("scheduler.snapshot:Plan", "method plan", id="another class"),
        pytest.param("scheduler.snapshot:NOBODY", "method plan", id="no class"),
        pytest.param("scheduler.replan:PlanClock", "method plan", id="no plan"),
    ],
)
def test_a_bad_name_is_refused_with_its_value_and_what_is_allowed(name, reason) -> None:
    with pytest.raises(ValidationError) as refused:
        SchedulerSettings(policy=name)
    (error,) = refused.value.errors()
    assert (error["loc"], error["input"]) == (("policy",), name)
    assert "'andes', 'fcfs' or package.module:Class" in error["msg"]
    assert reason in error["msg"]


def test_a_policy_that_needs_more_than_the_settings_is_refused(
    tmp_path, monkeypatch
) -> None:
    (tmp_path / "greedy_one.py").write_text(
        "class Two:\n"
        "    def __init__(self, settings, more): ...\n"
        "    def plan(self, snapshot): ...\n"
    )
    (tmp_path / "broken_one.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValidationError, match="does not take the settings alone"):
        SchedulerSettings(policy="greedy_one:Two")
    with pytest.raises(ValidationError, match="ZeroDivisionError"):
        SchedulerSettings(policy="broken_one:Two")


@pytest.mark.parametrize("horizon_s", [7.0, None])
def test_the_forecast_is_for_the_horizon_of_the_policy(
    make_engine, burst, scripted, horizon_s
) -> None:
    class Noting(scripted):
        def plan(self, snapshot):
            seen_s.add(round(snapshot.forecast.end_s - snapshot.forecast.now_s, 6))
            return super().plan(snapshot)

    seen_s: set[float] = set()
    policy = Noting()
    if horizon_s is not None:
        policy.horizon_s = horizon_s
    make_engine(policy=policy).run(burst(4))
    assert seen_s == {horizon_s or HORIZON_S}
