"""The client against a real server whose schedule is known.

Lower bounds on times are strict (a token is never seen before it was sent); upper bounds
leave `SLACK_S` for a busy machine.
"""

import asyncio
import os
import signal
import threading
import time
from collections import Counter

import numpy as np
import pytest

from bench.client import Progress, run_load, stream_load
from bench.endpoint import Endpoint
from bench.load import Load, PlannedStream
from bench.results import Stream, summarise
from qoe import Expectation

SLACK_S = 0.25


def load_of(*arrivals_s: float, tokens: int = 5, input_tokens: int = 20) -> Load:
    reader = Expectation(1.0, 5.0)
    streams = (PlannedStream(at_s, input_tokens, tokens, reader) for at_s in arrivals_s)
    return Load(tuple(streams))


def endpoint_of(peer, **fields) -> Endpoint:
    return Endpoint(peer.url, "tiny", **fields)


def run_one(peer, *, tokens: int = 5, **fields) -> Stream:
    (stream,) = run_load(load_of(0.0, tokens=tokens), endpoint_of(peer, **fields))
    return stream


@pytest.mark.parametrize(("first_s", "period_s"), [(0.05, 0.02), (0.3, 0.05)])
def test_tokens_are_timed_when_the_server_sends_them(peer, first_s, period_s) -> None:
    """Two schedules, so that a wrong scale or origin cannot pass both."""
    peer.answer = peer.steady(first_s=first_s, period_s=period_s)
    stream = run_one(peer, tokens=8)
    schedule_s = first_s + period_s * np.arange(8)
    late_s = np.array(stream.delivered_at_s) - schedule_s
    assert (late_s >= 0).all()
    assert (late_s < SLACK_S).all()
    # The server's own clock allows a tighter bound than its schedule.
    sent_s = np.array(peer.sent_at_s[:8])
    gaps_s = np.diff(stream.delivered_at_s) - np.diff(sent_s)
    assert np.abs(gaps_s).max() < SLACK_S
    assert (stream.error, len(stream.delivered_at_s)) == (None, 8)


@pytest.mark.parametrize("chunk_tokens", [3, 4, 100])
def test_a_chunk_of_several_tokens_gives_each_the_time_of_the_chunk(
    peer, chunk_tokens
) -> None:
    peer.answer = peer.steady(period_s=0.05, chunk_tokens=chunk_tokens)
    times_s = run_one(peer, tokens=8).delivered_at_s
    counts = list(Counter(times_s).values())
    full, rest = divmod(8, chunk_tokens)
    assert counts == [chunk_tokens] * full + [rest] * (rest > 0)


def test_a_server_without_usage_gets_one_token_a_chunk(peer) -> None:
    peer.answer = peer.steady(period_s=0.01, usage=False)
    stream = run_one(peer, tokens=6)
    assert len(stream.delivered_at_s) == 6
    assert stream.error is None


def test_an_http_error_is_an_error_of_its_status_with_the_servers_message(peer) -> None:
    peer.refuse = 400, {"error": {"message": "qoe_tds=0 is invalid", "code": 400}}
    stream = run_one(peer)
    assert stream.error == "http_400"
    assert stream.error_message == "qoe_tds=0 is invalid"
    assert stream.delivered_at_s == []


def test_a_refused_stream_is_no_failed_one(peer) -> None:
    message = (
        "qoe_patience_s=5: no first token could come within 5 s; the engine is overloaded; "
        "try again in 7 s."
    )
    peer.refuse = 503, {"error": {"message": message, "code": 503}}
    seen: list[tuple[int, int]] = []
    (stream,) = run_load(
        load_of(0.0),
        endpoint_of(peer),
        on_progress=lambda p: seen.append((p.failed, p.refused)),
    )
    assert stream.error == "refused"
    assert seen[-1] == (0, 1)
    summary = summarise([stream])
    assert (summary.refused, summary.errors, summary.mean_qoe_area) == (1, {}, 0.0)
    peer.refuse = 503, {"error": {"message": "the engine is full", "code": 503}}
    assert run_one(peer).error == "http_503"


def test_a_lost_connection_keeps_what_was_delivered(peer) -> None:
    async def answer(peer, response, _) -> None:
        for tokens in (1, 2, 3):
            await peer.send(response, peer.chunk(tokens=tokens))
            await asyncio.sleep(0.02)
        response._req.transport.abort()

    peer.answer = answer
    stream = run_one(peer, tokens=10)
    assert stream.error == "disconnected"
    assert len(stream.delivered_at_s) == 3


def test_a_clean_end_before_the_answer_is_finished_is_a_disconnect(peer) -> None:
    peer.answer = peer.events(peer.chunk(tokens=1), peer.chunk(tokens=2))
    stream = run_one(peer, tokens=10)
    assert (stream.error, len(stream.delivered_at_s)) == ("disconnected", 2)


def test_an_answer_that_finishes_early_is_short_and_no_error(peer) -> None:
    peer.answer = peer.events(peer.chunk(tokens=1), peer.chunk(tokens=2, finish="stop"))
    stream = run_one(peer, tokens=10)
    assert (stream.error, len(stream.delivered_at_s)) == (None, 2)


@pytest.mark.parametrize(
    ("event", "kind"),
    [({"error": {"message": "engine died"}}, "error_event"), ("{broken", "malformed")],
)
def test_a_bad_event_ends_the_stream_as_an_error_of_its_kind(peer, event, kind) -> None:
    peer.answer = peer.events(peer.chunk(tokens=1), event, "[DONE]")
    stream = run_one(peer)
    assert stream.error == kind
    assert stream.error_message


def test_a_refusal_that_comes_after_a_comment_is_one(peer) -> None:
    said = "qoe_patience_s=5: the engine is overloaded; try again in 7 s."
    peer.answer = peer.events({"error": {"message": said, "code": 503}}, "[DONE]")
    stream = run_one(peer)
    assert (stream.error, stream.error_message) == ("refused", said)


def test_nobody_listening_is_a_connection_error_for_each_stream(closed_url) -> None:
    streams = run_load(load_of(0.0, 0.01), Endpoint(closed_url, "tiny"))
    assert [s.error for s in streams] == ["connection", "connection"]
    assert "refused" in streams[0].error_message


def test_silence_longer_than_the_limit_is_a_timeout(peer) -> None:
    peer.answer = peer.steady(period_s=1.0)
    stream = run_one(peer, read_timeout_s=0.2)
    assert (stream.error, len(stream.delivered_at_s)) == ("timeout", 1)


def test_one_failed_stream_does_not_touch_the_others(peer) -> None:
    async def answer(peer, response, body) -> None:
        if body["max_tokens"] == 1:
            response._req.transport.abort()
        await peer.steady(period_s=0.02)(peer, response, body)

    peer.answer = answer
    reader = Expectation(1.0, 5.0)
    planned = [PlannedStream(0.01 * i, 20, 1 if i == 1 else 5, reader) for i in range(4)]
    streams = run_load(Load(tuple(planned)), endpoint_of(peer))
    assert [s.error for s in streams] == [None, "disconnected", None, None]


def test_requests_leave_on_time_while_the_server_keeps_everyone_waiting(peer) -> None:
    """Open loop: a client that waits for answers would hide the queue it causes."""
    peer.answer = peer.steady(period_s=0.0, first_s=0.8)
    arrivals_s = [0.0, 0.05, 0.1, 0.2, 0.3]
    streams = run_load(load_of(*arrivals_s), endpoint_of(peer))
    received_s = np.array(peer.received_at_s) - peer.received_at_s[0]
    assert np.abs(received_s - arrivals_s).max() < SLACK_S
    assert [s.arrival_s for s in streams] == arrivals_s
    assert max(s.send_lag_s for s in streams) < SLACK_S


def test_every_reader_has_a_connection_of_their_own(peer) -> None:
    """A reused one may be closed by the server while the next request is on its way."""
    run_load(load_of(0.0, 0.2, 0.4), endpoint_of(peer))
    assert len(set(peer.clients)) == 3


def test_a_client_that_sends_late_counts_the_delay_against_the_result(peer) -> None:
    async def with_a_stalled_loop() -> list[Stream]:
        loop = asyncio.get_running_loop()
        # Blocking the loop is the point: it plays a load generator out of CPU.
        loop.call_later(0.1, time.sleep, 0.5)
        return await stream_load(load_of(0.2), endpoint_of(peer))

    (stream,) = asyncio.run(with_a_stalled_loop())
    assert stream.send_lag_s > 0.3
    assert stream.delivered_at_s[0] > stream.send_lag_s


def test_a_request_says_what_its_reader_expects_and_asks_for_usage(peer) -> None:
    run_one(peer, tokens=3, seed=7, cache_salt="salt")
    (body,) = peer.bodies
    assert body["vllm_xargs"] == {"qoe_ttft_s": 1.0, "qoe_tds": 5.0}
    assert body["stream_options"] == {
        "include_usage": True,
        "continuous_usage_stats": True,
    }
    assert (body["stream"], body["temperature"], body["seed"]) == (True, 0, 7)
    assert (body["model"], body["max_tokens"]) == ("tiny", 3)
    assert (body["ignore_eos"], body["cache_salt"]) == (True, "salt")


def test_vllm_extensions_that_are_not_wanted_are_not_sent(peer) -> None:
    run_one(peer, ignore_eos=False)
    assert not {"ignore_eos", "cache_salt"} & set(peer.bodies[0])


def test_prompts_are_exact_seeded_and_share_no_prefix(peer) -> None:
    load = load_of(0.0, 0.02, 0.04, input_tokens=300)
    for seed in (1, 1, 2):
        run_load(load, endpoint_of(peer, seed=seed))
    prompts = [body["prompt"] for body in peer.bodies]
    assert all(len(prompt) == 300 for prompt in prompts)
    assert all(10 <= token <= 200 for prompt in prompts for token in prompt)
    assert prompts[:3] == prompts[3:6]
    starts = {tuple(prompt[:8]) for prompt in prompts[:3] + prompts[6:]}
    assert len(starts) == 6


def test_progress_ends_with_the_totals(peer) -> None:
    seen: list[Progress] = []
    run_load(load_of(0.0, 0.01, tokens=4), endpoint_of(peer), on_progress=seen.append)
    assert (seen[-1].sent, seen[-1].finished, seen[-1].tokens) == (2, 2, 8)
    assert (seen[-1].total, seen[-1].failed) == (2, 0)


def test_ctrl_c_stops_the_run_and_keeps_what_is_done(peer) -> None:
    peer.answer = peer.steady(period_s=0.1)
    timer = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    reader = Expectation(1.0, 5.0)
    done, cut, unsent = (
        PlannedStream(0.0, 20, 3, reader),
        PlannedStream(0.0, 20, 500, reader),
        PlannedStream(60.0, 20, 3, reader),
    )
    began_s = time.monotonic()
    streams = run_load(Load((done, cut, unsent)), endpoint_of(peer))
    timer.join()
    assert time.monotonic() - began_s < 30
    assert [s.error for s in streams] == [None, "cancelled"]
    assert len(streams[0].delivered_at_s) == 3
    assert 0 < len(streams[1].delivered_at_s) < 500


def test_cancelling_the_coroutine_stops_it_like_ctrl_c(peer) -> None:
    peer.answer = peer.steady(period_s=0.1)

    async def cancelled() -> list[Stream]:
        run = asyncio.create_task(stream_load(load_of(0.0, tokens=500), endpoint_of(peer)))
        await asyncio.sleep(0.4)
        run.cancel()
        streams = await run
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return streams

    assert [s.error for s in asyncio.run(cancelled())] == ["cancelled"]
