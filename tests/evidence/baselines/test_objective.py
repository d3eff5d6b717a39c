import numpy as np
import pytest

from evidence.baselines.objective import gain

SERVED = np.array([1.0, 0.9, 0.4])
WAITING = np.array([0.5, 0.9, 0.1])


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        pytest.param("mean", [0.5, 0.0, 0.3], id="mean is what serving adds"),
        pytest.param("max-min", [0.0, 0.0, 0.3], id="max-min lifts who would be last"),
        pytest.param("perfect", [1.0, 0.0, 0.0], id="perfect counts who stays perfect"),
    ],
)
def test_each_objective_values_its_own(objective, expected) -> None:
    assert gain(SERVED, WAITING, np.ones(3), objective) == pytest.approx(expected)


def test_a_reader_counts_by_weight() -> None:
    assert gain(SERVED, WAITING, np.array([2.0, 1.0, 1.0]))[0] == pytest.approx(1.0)


def test_a_reader_who_is_perfect_anyway_gains_nothing() -> None:
    almost = np.array([1.0 - 1e-12])
    assert gain(almost, np.ones(1), np.ones(1), "perfect")[0] == 0.0


@pytest.mark.parametrize("objective", ["mean", "max-min", "perfect"])
def test_nobody_gains_nothing(objective) -> None:
    none = np.zeros(0)
    assert gain(none, none, none, objective).size == 0
