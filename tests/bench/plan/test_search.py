from hypothesis import given
from hypothesis import strategies as st

from bench.plan.search import Bracket, is_monotone


@given(most=st.integers(1, 300), fewest=st.integers(1, 301), at_once=st.integers(1, 8))
def test_the_fewest_that_do_are_found_wherever_they_are(most, fewest, at_once) -> None:
    outcomes: dict[int, bool] = {}
    rounds = 0
    while not (bracket := Bracket.of(outcomes, most)).is_closed:
        probes = bracket.probes(at_once)
        assert probes == sorted(set(probes))
        assert all(bracket.fails < n < bracket.does for n in probes)
        outcomes |= {n: n >= fewest for n in probes}
        rounds += 1
    assert bracket.does == min(fewest, most + 1)
    assert rounds <= (most + 1).bit_length()
    # Out of reach is only what was tried with all that is allowed.
    assert bracket.does <= most or most in outcomes


@given(st.dictionaries(st.integers(1, 40), st.booleans()))
def test_any_outcomes_leave_a_bracket_that_shrinks(outcomes) -> None:
    bracket = Bracket.of(outcomes, 40)
    assert 0 <= bracket.fails < bracket.does <= 41
    assert not set(bracket.probes(3)) & set(outcomes) or bracket.is_closed


def test_worse_with_more_is_noticed_beyond_the_tolerance() -> None:
    assert is_monotone({1: 0.5, 2: 0.495, 4: 0.9}, 0.01)
    assert not is_monotone({4: 0.9, 1: 0.5, 2: 0.4}, 0.01)
    assert is_monotone({}, 0.01)
