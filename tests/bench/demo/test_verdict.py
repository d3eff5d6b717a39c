"""A ratio is told where the machine was steady, and reasons where it was not."""

import re

import pytest

from bench.demo.comparison import Tried
from bench.demo.probe import Probe
from bench.demo.verdict import UNSTEADY, how_it_was_set, unsteady, verdict

FCFS, ANDES = (0.50, 0.55, 0.60), (0.90, 0.99, 0.90)


def probe_of(first: float, second: float) -> Probe:
    return Probe(halves_tokens_per_s=(first, second), streams=9.0, output_tokens=200.0)


def test_a_steady_machine_gives_the_ratio_of_the_median_pair(compared) -> None:
    result = compared(FCFS, ANDES, probe=probe_of(900, 1100), rate=8.0)
    assert unsteady(result) == []
    assert verdict(result) == (
        "Mean area QoE: 0.550 under fcfs, 0.900 under andes, 1.80× in the median pair."
    )


def test_a_loss_beyond_the_spread_is_told_as_one(compared) -> None:
    result = compared((0.8, 0.82, 0.81), (0.6, 0.62, 0.61))
    assert "0.75×" in verdict(result)


def test_one_pair_is_not_told_as_if_it_were_many(compared) -> None:
    assert "One pair" in verdict(compared((0.5,), (0.9,)))
    assert "One pair" not in verdict(compared(FCFS, ANDES))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        pytest.param({"lag_s": 0.8}, r"0\.80 s late", id="the client was late"),
        pytest.param({"probe": probe_of(800, 1200)}, "800 and then 1,200", id="it changed"),
        pytest.param({"probe": probe_of(1200, 800)}, "1,200 and then 800", id="it slowed"),
    ],
)
def test_an_unsteady_machine_gives_its_reason_and_no_ratio(compared, changed, why) -> None:
    result = compared(FCFS, ANDES, **changed)
    (reason,) = unsteady(result)
    assert re.search(why, reason)
    assert verdict(result) == f"{UNSTEADY}: {reason}."
    assert "×" not in verdict(result)


def test_a_difference_that_fcfs_alone_shows_is_none(compared) -> None:
    # What the demo once measured: 1.05 in one hour, a loss in another.
    result = compared((0.929, 0.843, 0.959), (0.976, 0.920, 0.986))
    (reason,) = unsteady(result)
    assert "0.116" in reason
    assert "0.047" in reason
    assert verdict(result).startswith(UNSTEADY)


def test_it_is_said_what_was_probed_and_what_was_corrected(compared) -> None:
    given = compared(FCFS, ANDES, rate=8.0)
    assert how_it_was_set(given) == "The rate was given, not chosen."
    chosen = compared(FCFS, ANDES, rate=8.0, probe=probe_of(900, 1100))
    assert "1,000 tokens/s, 5.00 requests/s" in how_it_was_set(chosen)
    assert "8 a second were sent" in how_it_was_set(chosen)
    assert "orrected" not in how_it_was_set(chosen)
    corrected = compared(
        FCFS, ANDES, rate=8.0, probe=probe_of(900, 1100), corrected=Tried(6.5, 0.93)
    )
    assert "Corrected once: at 6.5 a second the mean area QoE of fcfs was 0.930" in (
        how_it_was_set(corrected)
    )
