"""Engines of a fleet in processes of their own, each with a share of the replicas.

What comes of a step is felt by nobody sooner than `lookahead_s` after its start. So for a
decision at t only the steps are needed that have started that much before; while it is
made, the processes go on to t.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Self

from bench.errors import UserError
from bench.fleet.replica import Delivered, Figures, Outcome
from bench.fleet.share import MakeReplica, Share
from bench.fleet.timeline import Moment, Order
from bench.load import PlannedStream
from bench.processes import ctrl_c_is_ours, end_with_parent
from telemetry.report import EngineReport

# What no method of `Share` is called.
_RENEW = "renew"


class _Call(NamedTuple):
    """A method of `Share`."""

    name: str
    args: tuple[Any, ...]


class _Failed(NamedTuple):
    error: Exception


class Workers:
    """Processes that load vLLM once, for one fleet after the other.

    On leaving the `with` block all of them end, whatever they are at.
    """

    def __init__(self, count: int) -> None:
        self._processes = [_Process() for _ in range(count)]

    def __enter__(self) -> Self:
        # vLLM reads it when it is imported, and tells of every engine it configures.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        with ctrl_c_is_ours():
            for process in self._processes:
                process.begin()
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.end()

    def engines(self, make: MakeReplica, lookahead_s: float) -> Shares:
        """Those of a new fleet, none of which is there yet; the fleet before is over.

        Args:
            make: The replica of a number, from a moment on; picklable.
            lookahead_s: Neither does an engine end a stream, nor is a report of its heard,
                sooner than this after the start of the step.
        """
        for process in self._processes:
            process.send(_RENEW, make)
        for process in self._processes:
            process.answer()
        return Shares(self._processes, lookahead_s)


class Shares:
    """`Engines` in several processes; replica n is in process n modulo their number."""

    def __init__(self, processes: Sequence[_Process], lookahead_s: float) -> None:
        self._processes = processes
        self._lookahead_s = lookahead_s

    def start(self, number: int, now_s: float) -> list[EngineReport]:
        reports: list[EngineReport] = self._of(number).ask("start", number, now_s)
        return reports

    def give(
        self, number: int, now_s: float, request_id: str, stream: PlannedStream
    ) -> None:
        self._of(number).post("give", number, now_s, request_id, stream)

    def outcomes(self, until: Moment) -> list[Outcome]:
        # Whatever else is decided wants to see the engines themselves.
        ahead_s = self._lookahead_s if until[1] is Order.ARRIVAL else 0.0
        for process in self._processes:
            process.send("outcomes", until, ahead_s)
        return list(chain.from_iterable(p.answer() for p in self._processes))

    def set_speed(self, number: int, speed: float) -> None:
        self._of(number).post("set_speed", number, speed)

    def drain(self, number: int) -> list[EngineReport]:
        reports: list[EngineReport] = self._of(number).ask("drain", number)
        return reports

    def kill(self, number: int, now_s: float) -> list[Delivered]:
        cut_off: list[Delivered] = self._of(number).ask("kill", number, now_s)
        return cut_off

    def demand_tokens(self) -> dict[int, float]:
        return {
            number: tokens
            for process in self._processes
            for number, tokens in process.ask("demand_tokens").items()
        }

    def figures(self) -> list[Figures]:
        return sorted(chain.from_iterable(p.ask("figures") for p in self._processes))

    def _of(self, number: int) -> _Process:
        return self._processes[number % len(self._processes)]


class _Process:
    """One process, and what it is to be told with the next question."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, self._theirs = context.Pipe()
        self._calls: list[_Call] = []
        self._process = context.Process(target=_serve, args=(self._theirs,), daemon=True)

    def begin(self) -> None:
        self._process.start()
        # Only with nobody else at its end does a connection tell that a process is gone.
        self._theirs.close()

    def post(self, name: str, *args: Any) -> None:
        """Call a method before any other; what it returns is of no interest."""
        self._calls.append(_Call(name, args))

    def ask(self, name: str, *args: Any) -> Any:
        """What a method returns.

        Raises:
            UserError: The process is gone.
        """
        self.send(name, *args)
        return self.answer()

    def send(self, name: str, *args: Any) -> None:
        """Ask, and go on; `answer` is to be called next."""
        calls, self._calls = [*self._calls, _Call(name, args)], []
        # One that has failed has said why, and is gone.
        with suppress(OSError):
            self._connection.send(calls)

    def answer(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise UserError(
                f"a worker process of the replay ended with code {self._process.exitcode}: "
                "nothing is written.",
                exit_code=1,
            ) from None
        if isinstance(answer, _Failed):
            raise answer.error
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()


def _serve(connection: Connection) -> None:
    """Answer questions until nobody is there to ask."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        try:
            _answer_all(connection)
        except (EOFError, OSError):
            raise
        except Exception as error:
            connection.send(_Failed(error))


def _answer_all(connection: Connection) -> None:
    share, late = None, list[Outcome]()
    while True:
        *told, asked = connection.recv()
        if asked.name == _RENEW:
            share, late = Share(*asked.args), []
            connection.send(None)
            continue
        assert share is not None
        for call in told:
            getattr(share, call.name)(*call.args)
        answer = getattr(share, asked.name)(*asked.args)
        if asked.name == "outcomes":
            connection.send(late + answer)
            late = share.outcomes(asked.args[0])
        else:
            connection.send(answer)
