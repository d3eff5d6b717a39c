from typing import Any

import pytest

from router.chooser import Chooser, Hold, Shed, Stream
from router.settings import RouterSettings

OVERLOADED = {
    "demand_tokens": 500_000,
    "running": 50,
    "waiting": 900,
    "prefill_backlog_tokens": 900_000,
}


def new(clock: Any, **settings: Any) -> Chooser:
    return Chooser(RouterSettings(**({"policy": "qoe", "seed": 1} | settings)), now_s=clock)


def stream(*, sheddable: object = True, number: int = 0) -> Stream:
    body = {
        "prompt": "x",
        "stream": True,
        "max_tokens": 100,
        "vllm_xargs": {"qoe_sheddable": sheddable},
    }
    return Stream(f"r{number}", number, body)


def test_a_stream_that_would_be_served_badly_waits_once_and_is_refused(
    clock: Any, make_report: Any
) -> None:
    chooser = new(clock, retry_after_s=7.0)
    chooser.on_report("a", make_report(**OVERLOADED))
    held = chooser.choose_or_refuse([("a", None)], stream(), may_hold=True)
    assert held == Hold(0.2)
    assert chooser.choose_or_refuse([("a", None)], stream(), may_hold=False) == Shed(7.0)
    assert chooser.counts == {"held": 1, "shed": 1}
    assert len(chooser.ledger) == 0


@pytest.mark.parametrize("sheddable", [False, None, "true"])
def test_who_did_not_ask_for_it_is_always_placed(
    clock: Any, make_report: Any, sheddable: object
) -> None:
    chooser = new(clock)
    chooser.on_report("a", make_report(**OVERLOADED))
    asked = stream(sheddable=sheddable)
    assert chooser.choose_or_refuse([("a", None)], asked, may_hold=True) == [[0]]


def test_a_stream_that_can_be_served_well_is_neither_held_nor_refused(
    clock: Any, make_report: Any
) -> None:
    chooser = new(clock)
    chooser.on_report("a", make_report())
    assert chooser.choose_or_refuse([("a", None)], stream(), may_hold=True) == [[0]]


def test_a_stream_that_takes_more_from_others_than_it_gets_is_refused(
    clock: Any, make_report: Any
) -> None:
    chooser = new(clock)
    marginal_loss = (0.0,) + (50.0,) * 62
    chooser.on_report("a", make_report(running=1, marginal_loss=marginal_loss))
    assert isinstance(
        chooser.choose_or_refuse([("a", None)], stream(), may_hold=False), Shed
    )


def test_without_reports_nobody_is_refused(clock: Any) -> None:
    assert new(clock).choose_or_refuse([("a", {})], stream(), may_hold=True) == [[0]]


@pytest.mark.parametrize("policy", ["pow2", "kv_ledger"])
def test_only_the_policy_that_weighs_qoe_refuses(
    clock: Any, make_report: Any, policy: Any
) -> None:
    chooser = new(clock, policy=policy)
    chooser.on_report("a", make_report(**OVERLOADED))
    assert chooser.choose_or_refuse([("a", None)], stream(), may_hold=True) == [[0]]
