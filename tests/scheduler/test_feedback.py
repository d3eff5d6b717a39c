"""What readers' clients say, on vLLM's real scheduler, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

from bench.load import PlannedStream
from bench.replay.engine import VirtualEngine
from qoe import Expectation, Feedback
from scheduler.feedback import FeedbackIntake
from telemetry.channel import new_endpoint
from telemetry.feedback import FeedbackReceiver, FeedbackSender, ReaderFeedback

# At 300 tokens/s nobody here is ever far enough ahead to be a victim.
LISTENER = Expectation(ttft_s=1.0, tds=40.0)
CROWD = [PlannedStream(0.1 * i, 100, 150, LISTENER) for i in range(12)]


class Words:
    """What clients have said and the engine has not asked for."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Feedback]] = []

    def take(self) -> list[tuple[str, Feedback]]:
        taken, self.waiting = self.waiting, []
        return taken

    def close(self) -> None:
        pass


def with_words(engine: VirtualEngine) -> Words:
    words = Words()
    engine.scheduler.feedback = FeedbackIntake(words)
    return words


def running(engine: VirtualEngine) -> list[str]:
    return [request.request_id for request in engine.scheduler.running]


def step_until(
    engine: VirtualEngine, condition: Callable[[], bool], limit_s: float
) -> bool:
    end_s = engine.now_s + limit_s
    while engine.now_s < end_s and engine.scheduler.has_unfinished_requests():
        if condition():
            return True
        engine.step()
    return condition()


def finish(engine: VirtualEngine) -> None:
    while engine.scheduler.has_unfinished_requests():
        engine.step()


def crowded(make_engine) -> VirtualEngine:
    engine = make_engine(load=CROWD)
    step_until(engine, lambda: engine.now_s > 1.5, 2.0)
    assert len(engine.scheduler.waiting) > 0
    return engine


def test_a_paused_stream_gives_way_within_a_second_and_others_do_not(make_engine) -> None:
    engine = crowded(make_engine)
    words = with_words(engine)
    paused, *others = running(engine)
    words.waiting.append((paused, Feedback(buffer_tokens=3.0, paused=True)))
    assert step_until(engine, lambda: paused not in running(engine), 1.0)
    assert set(others) <= set(running(engine))
    finish(engine)
    assert all(len(times) == 150 for times in engine.delivered_at_s.values())


def test_without_the_word_the_same_stream_stays(make_engine) -> None:
    engine = crowded(make_engine)
    stays, *_ = running(engine)
    assert not step_until(engine, lambda: stays not in running(engine), 1.0)
    finish(engine)


def test_a_paused_stream_is_back_in_its_turn_once_its_reader_is(make_engine) -> None:
    engine = crowded(make_engine)
    words = with_words(engine)
    paused, *_ = running(engine)
    words.waiting.append((paused, Feedback(paused=True)))
    assert step_until(engine, lambda: paused not in running(engine), 1.0)
    came = len(engine.delivered_at_s[paused])
    words.waiting.append((paused, Feedback(buffer_tokens=0.0, paused=False)))
    assert step_until(engine, lambda: len(engine.delivered_at_s[paused]) > came, 3.0)
    finish(engine)


def test_nobody_need_be_there_for_a_stream_to_be_finished_where_there_is_room(
    make_engine,
) -> None:
    alone, told = make_engine(256, load=CROWD), make_engine(256, load=CROWD)
    words = with_words(told)
    told.step()
    words.waiting += [(str(i), Feedback(paused=True)) for i in range(len(CROWD))]
    finish(alone)
    finish(told)
    assert told.delivered_at_s == alone.delivered_at_s
    assert told.scheduler.streams.preemptions_total == 0


def test_words_about_streams_that_are_not_here_change_nothing(make_engine) -> None:
    alone, told = crowded(make_engine), crowded(make_engine)
    words = with_words(told)
    words.waiting += [("gone", Feedback(paused=True)), ("7", Feedback())]
    finish(alone)
    finish(told)
    assert told.delivered_at_s == alone.delivered_at_s


def test_an_inbox_that_fails_costs_the_engine_nothing(make_engine) -> None:
    engine = make_engine(load=CROWD)

    class Broken(Words):
        def take(self) -> list[tuple[str, Feedback]]:
            raise OSError("the socket is gone")

    engine.scheduler.feedback = FeedbackIntake(Broken())
    finish(engine)
    assert engine.scheduler.plan_failures_total > 0
    assert all(len(times) == 150 for times in engine.delivered_at_s.values())


def test_a_word_reaches_the_engine_that_was_told_where_to_listen(
    make_engine, monkeypatch
) -> None:
    endpoint = new_endpoint()
    monkeypatch.setenv("ANDES_FEEDBACK_ENDPOINT", endpoint)
    with FeedbackSender(endpoint) as replica:
        engine = make_engine(256, load=CROWD[:2])
        assert isinstance(engine.scheduler.feedback._source, FeedbackReceiver)
        engine.step()

        def is_away() -> bool:
            replica.send(ReaderFeedback(("0", "1"), Feedback(paused=True)))
            return engine.scheduler.streams.readers.num_away == 2

        assert step_until(engine, is_away, 5.0)
        finish(engine)
        engine.scheduler.feedback.close()
