import numpy as np
import pytest

from bench.figure import PALETTE
from bench.plot import plot_runs
from bench.results import Stream

PNG = b"\x89PNG\r\n\x1a\n"


def stream(arrival_s: float, delivered_at_s, *, error: str | None = None) -> Stream:
    return Stream(
        arrival_s=arrival_s,
        input_tokens=10,
        output_tokens=max(1, len(delivered_at_s)),
        ttft_s=1.0,
        tds=5.0,
        delivered_at_s=list(delivered_at_s),
        error=error,
    )


def run(first_s: float) -> list[Stream]:
    return [stream(i / 4, first_s + np.arange(20) / (4 + i % 3)) for i in range(40)]


def size(path) -> tuple[int, int]:
    header = path.read_bytes()[:24]
    assert header.startswith(PNG)
    return int.from_bytes(header[16:20]), int.from_bytes(header[20:24])


@pytest.mark.parametrize("count", [1, len(PALETTE) + 1])
def test_any_number_of_runs_makes_one_figure_of_the_same_size(tmp_path, count) -> None:
    path = tmp_path / "runs.png"
    plot_runs({f"run ${i}$": run(0.3 + i) for i in range(count)}, path)
    assert size(path) == (1725, 1200)


@pytest.mark.filterwarnings("error")
def test_runs_in_which_streams_failed_are_drawn_too(tmp_path) -> None:
    nothing = [stream(0.0, [], error="http_500"), stream(1.0, [], error="http_500")]
    some = [*run(0.3), stream(2.0, [0.4], error="disconnected")]
    for name, runs in {"one": {"a": nothing}, "two": {"a": some, "b": nothing}}.items():
        path = tmp_path / f"{name}.png"
        plot_runs(runs, path)
        assert size(path)


def test_a_run_without_an_ended_stream_is_refused(tmp_path) -> None:
    for runs in ({}, {"a": []}, {"a": [stream(0.0, [1.0], error="cancelled")]}):
        with pytest.raises(ValueError, match="ended"):
            plot_runs(runs, tmp_path / "none.png")
