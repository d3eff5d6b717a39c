import pytest

from bench.errors import UserError
from bench.plan.contenders import DEFAULT_CONTENDERS, Contender, parse_contender
from bench.plan.targets import Target, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("mean>=0.95", Target("mean", 0.95)),
        (" p5 >= 0.8 ", Target("p5", 0.8)),
        ("share>=1", Target("share", 1.0)),
    ],
)
def test_a_target_is_a_metric_and_the_least_it_may_be(text, target) -> None:
    assert parse_target("--target", text) == target
    assert parse_target("--target", target.label) == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mean", "must be METRIC>=VALUE"),
        ("mean>0.9", "must be METRIC>=VALUE"),
        ("p50>=0.9", "METRIC one of mean, p5, share"),
        ("mean>=good", "VALUE=good is invalid"),
        ("mean>=1.2", "VALUE=1.2 is invalid: it must be a number from 0.01 to 1"),
        ("mean>=nan", "VALUE=nan is invalid"),
    ],
)
def test_what_is_no_target_is_refused_in_one_sentence(text, message) -> None:
    with pytest.raises(UserError, match=message):
        parse_target("--target", text)


def test_a_contender_is_a_scheduler_and_a_router() -> None:
    assert parse_contender("--contender", "andes+kv_ledger") == Contender(
        "andes", "kv_ledger"
    )
    for contender in DEFAULT_CONTENDERS:
        assert parse_contender("--contender", contender.label) == contender


@pytest.mark.parametrize("text", ["andes", "andes+random", "vllm+pow2", "andes+qoe+qoe"])
def test_what_is_no_contender_is_refused_with_both_lists(text) -> None:
    with pytest.raises(UserError, match=r"must be SCHEDULER\+ROUTER.*fcfs.*pow2"):
        parse_contender("--contender", text)
