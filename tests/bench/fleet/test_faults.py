import pytest

from bench.errors import UserError
from bench.fleet.arguments import Fleet
from bench.fleet.faults import KINDS, Fault, parse_fault


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "slow"])
def test_a_fault_is_when_what_and_where(kind) -> None:
    assert parse_fault("--at", f" 0.5  {kind} 2") == Fault(0.5, kind, 2)


def test_a_slow_replica_has_a_speed() -> None:
    assert parse_fault("--at", "90 slow 1 0.5") == Fault(90.0, "slow", 1, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--at '' is invalid: it must be SECONDS KIND REPLICA"),
        ("60 explode 2", "KIND one of kill, slow, drain, partition-reports, heal-reports."),
        ("60 kill", "--at 60 kill is invalid: it must be"),
        ("60 kill 2 0.5", "--at 60 kill 2 0.5 is invalid: it must be"),
        ("60 slow 2", "or SECONDS slow REPLICA SPEED"),
        ("soon kill 2", "--at soon kill 2: SECONDS=soon is invalid: it must be a number"),
        ("-1 kill 2", "SECONDS=-1 is invalid: it must be a number from 0 to 1,000,000"),
        ("nan kill 2", "SECONDS=nan is invalid"),
        ("1 kill two", "REPLICA=two is invalid: it must be a whole number from 0"),
        ("1 kill -1", "REPLICA=-1 is invalid"),
        ("1 slow 2 0", "SPEED=0 is invalid: it must be a number from 0.01 to 100"),
    ],
)
def test_what_is_no_fault_is_refused_in_one_sentence(text, message) -> None:
    with pytest.raises(UserError) as refused:
        parse_fault("--at", text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_fault_on_a_replica_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"--at 60 kill 2 is invalid: .* from 0 to 1"):
        Fleet(replicas=2, at=(Fault(60, "kill", 2),))


def test_every_replica_has_a_speed_or_none_has() -> None:
    assert Fleet(replicas=3).speeds == (1.0, 1.0, 1.0)
    assert Fleet(replicas=2, replica_speeds=(1.3, 0.6)).speeds == (1.3, 0.6)
    with pytest.raises(UserError, match=r"must have 3 numbers, .* and has 2"):
        Fleet(replicas=3, replica_speeds=(1.3, 0.6))
