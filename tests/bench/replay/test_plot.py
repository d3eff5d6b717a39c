import numpy as np
import pytest

from bench.load import BurstShape
from bench.replay.plot import plot_replays
from bench.scores import Scores
from qoe import Expectation

PNG = b"\x89PNG\r\n\x1a\n"
READER = Expectation(1.0, 5.0)


def scores(count: int, *, served: bool = True) -> Scores:
    table = Scores(list(np.linspace(0.0, 100.0, count)))
    for row in range(count if served else 0):
        table.score(row, 0.1 + row / 10 + np.arange(20) / 8, READER)
    return table


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 5, 500])
@pytest.mark.parametrize("bursts", [None, BurstShape(), BurstShape(intensity=1.0)])
def test_any_load_makes_a_figure(tmp_path, count, bursts) -> None:
    path = tmp_path / "runs.png"
    runs = {"a": scores(count), "b": scores(count), "none": scores(count, served=False)}
    plot_replays(runs, path, bursts)
    assert path.read_bytes().startswith(PNG)


def test_without_a_run_there_is_no_figure(tmp_path) -> None:
    with pytest.raises(ValueError, match="no run"):
        plot_replays({}, tmp_path / "runs.png")
