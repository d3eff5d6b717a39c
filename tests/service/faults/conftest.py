"""What goes wrong on the real service, and what to look at then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import psutil
import pytest

from bench.soak import members
from bench.soak.members import Replica

if TYPE_CHECKING:
    from conftest import Answer, Client

RESTART_S = 300.0


class Faults:
    """Kills what serves a client, and waits for what comes of it.

    Attributes:
        READER: `vllm_xargs` of a reader.
        LONG: Tokens of an answer that lasts for seconds.
        NOTICED_S: Within this a stream goes on, or says why it does not, wherever the
            replica that replaces a dead one does not start on the same two cores: there
            importing vLLM takes them both, and SLACK times as long is let be.
    """

    READER: ClassVar = {"qoe_ttft_s": 1.0, "qoe_tds": 4.8}
    LONG = 1500
    SLACK = 3.0
    NOTICED_S = 5.0 * SLACK

    @staticmethod
    def replicas(client: Client) -> dict[str, Replica]:
        """The replicas that answer, by id."""
        return members.replicas(client.service)

    @staticmethod
    def eventually(look: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        """What `look` says once it says something; a dying replica may not answer."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            seen = None
            try:
                if seen := look():
                    return seen
            except Exception:
                if time.monotonic() > deadline_s:
                    raise
            assert time.monotonic() < deadline_s, seen
            time.sleep(0.1)

    @staticmethod
    def ready(client: Client) -> None:
        """Both replicas are there, whatever an earlier test left."""
        Faults.eventually(lambda: len(Faults.replicas(client)) == 2, RESTART_S)

    @staticmethod
    def writer(client: Client, but: str = "", timeout_s: float = 30.0) -> Replica:
        """A replica that writes; another one than `but`."""

        def look() -> Replica | None:
            busy = [r for r in Faults.replicas(client).values() if r["report"]["running"]]
            return next((r for r in busy if r["replica_id"] != but), None)

        replica: Replica = Faults.eventually(look, timeout_s)
        return replica

    @staticmethod
    def elsewhere(
        client: Client, begin: Callable[[], Future[Answer]], but: str
    ) -> Future[Answer]:
        """A stream that another replica than `but` writes.

        An engine that has just started seems slow, and then the next stream may well be
        better off beside the first one.
        """
        for _ in range(4):
            begun = begin()
            with suppress(AssertionError):
                Faults.writer(client, but, 2.0)
                return begun
        raise AssertionError(f"replica {but} got five streams, and the other one none")

    @staticmethod
    def whole_again(client: Client, gone: Replica) -> dict[str, Replica]:
        """Both replicas, once Serve has replaced the one that is gone and both are used."""

        def look() -> dict[str, Replica] | None:
            now = Faults.replicas(client)
            return now if len(now) == 2 and gone["replica_id"] not in now else None

        both: dict[str, Replica] = Faults.eventually(look, RESTART_S)
        assert gone["report"]["epoch"] not in {r["report"]["epoch"] for r in both.values()}

        def both_took() -> bool:
            asks = [partial(client.complete, stream=True, max_tokens=40)] * 4
            client.all_at_once(asks)
            now = Faults.replicas(client)
            return all(
                now[name]["report"]["accepted_total"] > r["report"]["accepted_total"]
                for name, r in both.items()
            )

        assert Faults.eventually(both_took, RESTART_S)
        return both

    @staticmethod
    def kill_replica(replica: Replica) -> None:
        members.kill(members.process_of(replica))

    @staticmethod
    def engine_of(replica: Replica) -> psutil.Process:
        return members.engine_of(replica)

    @staticmethod
    def kill_engine(replica: Replica) -> None:
        members.kill(members.engine_of(replica))

    @staticmethod
    def text_of(chunks: list[Any]) -> str:
        choices = [c for chunk in chunks for c in chunk.get("choices", ())]
        return "".join(
            c.get("text") or c.get("delta", {}).get("content") or "" for c in choices
        )

    @staticmethod
    def ask_long(ask: Callable[..., Answer], **more: Any) -> Callable[[], Answer]:
        return partial(
            ask,
            stream=True,
            max_tokens=Faults.LONG,
            temperature=0.0,
            vllm_xargs=Faults.READER,
            stream_options={"include_usage": True},
            **more,
        )


@pytest.fixture
def faults() -> type[Faults]:
    return Faults


@pytest.fixture
def at_once() -> Iterator[Callable[..., Future[Any]]]:
    with ThreadPoolExecutor(32) as pool:
        yield pool.submit
