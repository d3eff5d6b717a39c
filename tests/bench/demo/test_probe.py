import asyncio
import time
from itertools import repeat

import pytest

from bench.client import keep_busy
from bench.demo.probe import measure
from bench.endpoint import Endpoint
from bench.errors import UserError
from bench.load import PlannedStream
from bench.results import CANCELLED, Stream
from qoe import Expectation


def stream(arrival_s: float, *delivered_at_s: float, **fields) -> Stream:
    return Stream(
        arrival_s=arrival_s,
        input_tokens=10,
        output_tokens=fields.pop("output_tokens", len(delivered_at_s)),
        ttft_s=1.0,
        tds=5.0,
        delivered_at_s=delivered_at_s,
        **fields,
    )


def test_the_halves_are_counted_apart_and_what_filled_the_engines_not_at_all() -> None:
    first_half = stream(3.0, 0.5, 1.5, 2.5)  # 3.5 is before the start.
    second_half = stream(5.0, 3.5, 4.0, 4.5, 5.0)
    probe = measure([first_half, second_half], 4.0, 12.0)
    assert probe.halves_tokens_per_s == (2 / 4, 4 / 4)
    assert probe.tokens_per_s == 0.75
    assert probe.change == pytest.approx(0.5 / 0.75)
    assert probe.output_tokens == 3.5
    assert probe.requests_per_s == pytest.approx(0.75 / 3.5)


def test_streams_in_delivery_are_those_between_their_first_and_last_token() -> None:
    whole = stream(0.0, 1.0, 5.0, 9.0, 20.0)
    half = stream(6.0, 2.0, 4.0, 6.0)
    waiting = stream(0.0, error=CANCELLED, output_tokens=9)
    cut_off = stream(7.0, 1.0, error=CANCELLED, output_tokens=9)
    probe = measure([whole, half, waiting, cut_off], 4.0, 12.0)
    assert probe.streams == pytest.approx((8 + 4 + 4) / 8)


@pytest.mark.parametrize(
    ("streams", "why"),
    [
        ([], "no token came"),
        ([stream(0.0, 1.0, error=CANCELLED, output_tokens=9)], "no token came"),
        ([stream(0.0, error="http_503", error_message="too busy")], "too busy"),
    ],
)
def test_a_probe_without_tokens_says_why(streams, why) -> None:
    with pytest.raises(UserError, match=why):
        measure(streams, 4.0, 20.0)


PLANNED = PlannedStream(99.0, 20, 50, Expectation(1.0, 5.0))


def busy(peer, *, waiting: int, duration_s: float) -> list[Stream]:
    endpoint = Endpoint(peer.url, "tiny")
    return asyncio.run(keep_busy(repeat(PLANNED), endpoint, waiting, duration_s))


def test_as_many_requests_as_asked_for_always_wait(peer) -> None:
    peer.answer = peer.steady(first_s=0.25, period_s=0.0)
    began_s = time.perf_counter()
    streams = busy(peer, waiting=3, duration_s=1.0)
    assert 1.0 <= time.perf_counter() - began_s < 3.0
    ended = [s for s in streams if s.error is None]
    cut_off = [s for s in streams if s.error == CANCELLED]
    assert len(ended) + len(cut_off) == len(streams) == len(peer.bodies)
    # Three at once, each 0.25 s without a token: twelve in a second, fewer where it lags.
    assert 6 <= len(streams) <= 15
    assert len([s for s in cut_off if not s.delivered_at_s]) == 3
    assert all(0 <= s.arrival_s <= 1.1 for s in streams)
    assert all(len(s.delivered_at_s) == 50 for s in ended)


def test_who_has_begun_makes_room_for_the_next(peer) -> None:
    peer.answer = peer.steady(first_s=0.1, period_s=0.05)
    streams = busy(peer, waiting=2, duration_s=0.8)
    assert len(streams) > 6
    assert all(s.error == CANCELLED for s in streams)


def test_a_server_that_refuses_is_not_hammered(peer) -> None:
    peer.refuse = (503, {"error": {"message": "too busy"}})
    streams = busy(peer, waiting=3, duration_s=0.5)
    assert [s.error for s in streams] == ["http_503"] * 3
