import pytest

from bench import pacerbench


def test_readers_of_a_small_load_are_shown_all_of_it() -> None:
    measured = pacerbench.measure_pacer(streams=3, duration_s=1.0, speed=4.0)
    assert measured.streams == 3
    # Four tokens each; a last letter may come on its own.
    assert 12.0 <= measured.shown_per_s <= 24.0
    assert 0.0 < measured.source_share < measured.paced_share < 1.0


@pytest.mark.nightly
@pytest.mark.parametrize("speed", pacerbench.SPEEDS)
def test_two_hundred_paced_streams_take_a_tenth_of_a_core(speed: float) -> None:
    measured = pacerbench.measure_pacer(streams=200, duration_s=10.0, speed=speed)
    assert measured.paced_share <= 0.10, measured
