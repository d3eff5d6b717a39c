"""A configuration is refused by naming the key, the value and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.config import AppArgs
from deployments.config_errors import ConfigError
from qoe import PROFILES, Expectation
from scheduler.settings import SchedulerSettings

MODEL = {"model": {"id": "tiny", "source": ".run/tiny-llama"}}


def refusal(**args: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        AppArgs.parse(MODEL | args)
    return str(caught.value)


def test_defaults_need_nothing_but_a_model() -> None:
    args = AppArgs.parse(MODEL)
    assert (args.scheduler, args.router, args.streaming) == ("andes", "qoe", "direct")
    assert args.scheduler_settings == SchedulerSettings()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        pytest.param({"replica": 2}, ["args.replica=2", "replicas"], id="unknown"),
        pytest.param(
            {"model": {"id": "a", "source": "b", "path": "c"}},
            ["args.model.path='c'", "id, source"],
            id="unknown-in-model",
        ),
        pytest.param(
            {"andes": {"horizon": 3}},
            ["args.andes.horizon=3", "max_throughput_loss"],
            id="unknown-knob",
        ),
        pytest.param({"router": "best"}, ["args.router='best'", "'pow2'"], id="router"),
        pytest.param({"scheduler": 1}, ["args.scheduler=1", "'fcfs'"], id="scheduler"),
        pytest.param(
            {"scheduler": "evidence.baselines.paper:Nobody"},
            ["args.scheduler='evidence.baselines.paper:Nobody'", "'fcfs'", "'Nobody'"],
            id="no-such-policy",
        ),
        pytest.param(
            {"accelerator": "tpu"}, ["args.accelerator='tpu'", "'auto'"], id="accelerator"
        ),
        pytest.param({"streaming": "sse"}, ["args.streaming='sse'", "'handle'"], id="path"),
        pytest.param({"replicas": 0}, ["args.replicas=0", "greater than 0"], id="none"),
        pytest.param({"num_cpus": "x"}, ["args.num_cpus='x'", "number"], id="not-a-number"),
        pytest.param(
            {"andes": {"max_throughput_loss": -1}},
            ["args.andes.max_throughput_loss=-1", "than 0"],
            id="range",
        ),
        pytest.param({"model": 3}, ["args.model=3", "dictionary"], id="not-a-mapping"),
        pytest.param({"engine_env": {"A": 1}}, ["args.engine_env.A=1", "string"], id="env"),
        pytest.param(
            {"default_profile": "skim"},
            ["args.default_profile", "'skim'", *PROFILES],
            id="profile",
        ),
        pytest.param(
            {"default_profile": {"ttft_s": 0, "tds": 4.8}},
            ["args.default_profile", "ttft_s=0", "0.01 to 600 seconds"],
            id="expectation",
        ),
        pytest.param(
            {"keep_alive_interval_s": 0},
            ["args.keep_alive_interval_s=0", "0.5"],
            id="silence",
        ),
        pytest.param(
            {"keep_alive_interval_s": 61},
            ["args.keep_alive_interval_s=61", "60"],
            id="long-silence",
        ),
        pytest.param(
            {"graceful_shutdown_timeout_s": -1},
            ["args.graceful_shutdown_timeout_s=-1", "0"],
            id="grace",
        ),
        pytest.param(
            {"default_patience_s": 0},
            ["args.default_patience_s=0", "0.01"],
            id="patience",
        ),
        pytest.param(
            {"router_settings": {"ttl": 1}},
            ["args.router_settings", "ttl=1", "ledger_ttl_s"],
            id="router-setting",
        ),
    ],
)
def test_a_bad_key_is_named_with_its_value_and_what_is_allowed(
    args: dict[str, Any], said: list[str]
) -> None:
    line = refusal(**args)
    assert "\n" not in line
    assert all(part in line for part in said), line


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^args\.model is missing"):
        AppArgs.parse({})


def test_every_mistake_has_a_line() -> None:
    assert len(refusal(router="best", replicas=0, replica=1).splitlines()) == 3


@pytest.mark.parametrize(
    "name", ["policy", "default_ttft_s", "default_tds", "default_patience_s"]
)
def test_what_another_key_says_is_not_said_twice(name: str) -> None:
    assert f"args.andes: {name}=" in refusal(andes={name: 1})


def test_settings_of_the_qoe_router_are_refused_for_another_one() -> None:
    assert "router='pow2'" in refusal(router="pow2", router_settings={"seed": 1})


def test_an_order_of_vllms_own_is_refused_where_andes_orders() -> None:
    priority = {"scheduling_policy": "priority"}
    said = refusal(engine_kwargs=priority)
    assert "engine_kwargs.scheduling_policy='priority' is invalid with scheduler=" in said
    AppArgs.parse(MODEL | {"engine_kwargs": priority, "scheduler": "fcfs"})


def test_clients_are_told_apart_by_their_address_where_there_is_one() -> None:
    said = refusal(share_by="address")
    assert "share_by='address' is invalid with streaming='direct': Serve's HAProxy" in said
    AppArgs.parse(MODEL | {"share_by": "address", "streaming": "handle"})
    assert "args.share_by='ip'" in refusal(share_by="ip")


def test_transfers_need_somebody_who_makes_them() -> None:
    offload = {"andes": {"resume": "offload"}}
    assert "andes.resume='offload' is invalid without a KV connector" in refusal(**offload)
    AppArgs.parse(MODEL | offload | {"engine_kwargs": {"kv_offloading_size": 4.0}})


@pytest.mark.parametrize(
    ("profile", "expectation"),
    [
        ("listening", PROFILES["listening"].expectation),
        ({"ttft_s": 2.0, "tds": 10}, Expectation(2.0, 10)),
    ],
)
def test_the_default_profile_reaches_the_scheduler(
    profile: Any, expectation: Expectation
) -> None:
    args = AppArgs.parse(MODEL | {"default_profile": profile, "scheduler": "fcfs"})
    assert args.scheduler_settings.default_expectation == expectation
    assert args.scheduler_settings.policy == "fcfs"


def test_a_default_patience_reaches_the_scheduler_and_is_off_unless_asked_for() -> None:
    off = AppArgs.parse(MODEL).scheduler_settings.default_expectation
    assert off.patience_s is None
    args = AppArgs.parse(MODEL | {"default_patience_s": 20})
    assert args.scheduler_settings.default_expectation.patience_s == 20.0


def test_the_andes_settings_reach_the_scheduler() -> None:
    args = AppArgs.parse(MODEL | {"andes": {"max_throughput_loss": 3.0}})
    assert args.scheduler_settings == SchedulerSettings(max_throughput_loss=3.0)


def test_another_policy_reaches_the_scheduler_by_its_import_string() -> None:
    name = "evidence.baselines.paper:PaperPolicy"
    args = AppArgs.parse(MODEL | {"scheduler": name})
    assert args.scheduler_settings == SchedulerSettings(policy=name)


@pytest.mark.parametrize("key", ["num_cpus", "resume_timeout_s"])
def test_infinity_is_no_number_of_a_configuration(key: str) -> None:
    assert f"args.{key}=inf is invalid" in refusal(**{key: float("inf")})


@pytest.mark.parametrize(
    "args",
    [
        {"router": "x" * 5000},
        {"model": {"id": "a", "source": "b", "c": "x" * 5000}},
        {"x" * 5000: 1},
        {"router_settings": {"policy": "x" * 5000}},
        {"engine_kwargs": {"scheduling_policy": "x" * 5000}},
        {"default_profile": ["x"] * 5000},
        {"andes": {"policy": "x" * 5000}},
        {"a\nb": 1},
        {"scheduler": 10**5000},
    ],
    ids=lambda args: next(iter(args))[:10],
)
def test_whatever_is_wrong_is_said_in_one_short_line(args: dict[str, Any]) -> None:
    line = refusal(**args)
    assert len(line) < 800
    assert line.isprintable()
