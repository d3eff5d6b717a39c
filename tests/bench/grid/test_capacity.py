import pytest

from bench.grid.capacity import CURVES, Capacity, capacity, curve_grid, points_of
from bench.grid.cells import ANDES, BY_RATE, FCFS

FALLING = [(1.0, 1.0), (2.0, 0.9), (3.0, 0.5)]


def test_capacity_lies_on_the_line_between_the_last_that_holds_and_the_next() -> None:
    assert capacity(FALLING, 0.95).most == pytest.approx(1.5)
    assert capacity(FALLING, 0.9).most == pytest.approx(2.0)
    assert capacity(FALLING, 0.7).most == pytest.approx(2.5)


def test_a_load_behind_a_failure_does_not_count() -> None:
    points = [(1.0, 1.0), (2.0, 0.8), (3.0, 1.0)]
    assert capacity(points, 0.9).most == pytest.approx(1.5)


def test_no_load_holds_or_all_do() -> None:
    assert str(capacity([(1.0, 0.5), (2.0, 0.99)], 0.9)) == "none"
    assert str(capacity(FALLING, 0.4)) == "≥ 3.00"
    with pytest.raises(ValueError, match="without points"):
        capacity([], 0.9)


@pytest.mark.parametrize(
    ("ours", "theirs", "ratio"),
    [
        (Capacity(3.0), Capacity(2.0), "1.50×"),
        (Capacity(1.0), Capacity(2.0), "0.50×"),
        (Capacity(3.0, is_beyond=True), Capacity(2.0), "≥ 1.50×"),
        (Capacity(3.0), Capacity(None), "–"),
        (Capacity(None), Capacity(3.0), "–"),
        (Capacity(3.0), Capacity(2.0, is_beyond=True), "–"),
    ],
)
def test_a_ratio_claims_no_more_than_was_tried(ours, theirs, ratio) -> None:
    assert ours.over(theirs) == ratio


def test_all_points_of_a_curve_have_the_same_seeds(make) -> None:
    rows = [make.row("C", load, FCFS, qoe=0.9) for load in BY_RATE]
    rows.append(make.row("C", BY_RATE[0], FCFS, seed=1, qoe=0.1))
    grid = curve_grid(rows)
    points = points_of(grid, CURVES[0], FCFS)
    assert points == [(load.rate_share, 0.9) for load in BY_RATE]
    assert points_of(grid, CURVES[0], ANDES) == []
