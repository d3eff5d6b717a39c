"""The whole service as shipped, with little KV memory: HAProxy, router, two engines."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import openai
import pytest

if TYPE_CHECKING:
    from conftest import Client

from telemetry.broadcast import ReportListener
from telemetry.report import MARGINAL_LOSS_SIZE, EngineReport, request_key
from telemetry.routing_stats import endpoint_of, from_routing_stats

READER = {"qoe_ttft_s": 1.0, "qoe_tds": 4.8}
BAD_FIELDS = [
    ("qoe_tds", "fast", "0.01 to 1000 tokens/s"),
    ("qoe_tds", 0, "0.01 to 1000 tokens/s"),
    ("qoe_tds", -1.5, "0.01 to 1000 tokens/s"),
    ("qoe_tds", float("nan"), "0.01 to 1000 tokens/s"),
    ("qoe_tds", float("inf"), "0.01 to 1000 tokens/s"),
    ("qoe_tds", True, "0.01 to 1000 tokens/s"),
    ("qoe_ttft_s", 10**30, "0.01 to 600 seconds"),
    ("qoe_ttft_s", None, "0.01 to 600 seconds"),
    ("qoe_profile", "skimming", "reading, listening, none"),
    ("qoe_speed", 3, "qoe_weight, qoe_patience_s, qoe_sheddable"),
]


@pytest.fixture
def sdk(direct: Client) -> Any:
    with openai.OpenAI(
        base_url=direct.service.base_url, api_key="none", max_retries=0
    ) as client:
        yield client


def test_a_chat_streams_as_it_is_written(direct: Client) -> None:
    answer = direct.chat(stream=True, max_tokens=200, vllm_xargs=READER)
    assert answer.status == 200
    assert len(answer.text) == 200
    assert answer.chunks[-1]["choices"][0]["finish_reason"] == "length"
    first, last = answer.received_at_s[1], answer.received_at_s[-1]
    assert len(answer.chunks) > 50
    assert last - first > 0.05, "it came in one piece"


def test_a_completion_streams_as_it_is_written(direct: Client) -> None:
    answer = direct.complete(stream=True, max_tokens=200, vllm_xargs=READER)
    assert len(answer.text) == 200
    assert len(answer.chunks) > 50


def test_a_stream_and_a_whole_answer_say_the_same(direct: Client, sdk: Any) -> None:
    request: dict[str, Any] = {
        "model": direct.service.model,
        "messages": [{"role": "user", "content": "Tell me about rivers."}],
        "max_tokens": 60,
        "temperature": 0.0,
        "extra_body": {"vllm_xargs": READER},
    }
    whole = sdk.chat.completions.create(**request)
    stream = sdk.chat.completions.create(**request, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == whole.choices[0].message.content
    assert whole.usage.completion_tokens == 60


def test_the_official_client_is_told_which_field_is_bad(direct: Client, sdk: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.completions.create(
            model=direct.service.model,
            prompt="Hello",
            stream=True,
            extra_body={"vllm_xargs": {"qoe_tds": -1}},
        )
    assert caught.value.param == "qoe_tds"
    assert "qoe_tds=-1 is invalid" in caught.value.message


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("name", "value", "allowed"), BAD_FIELDS)
def test_a_bad_field_is_refused_and_the_engine_never_sees_it(
    direct: Client, name: str, value: Any, allowed: str, stream: bool
) -> None:
    before = direct.total("accepted_total")
    for ask in (direct.chat, direct.complete):
        answer = ask(stream=stream, max_tokens=5, vllm_xargs={**READER, name: value})
        assert answer.status == answer.error["code"] == 400
        assert answer.error["param"] == name
        assert answer.error["message"].startswith(f"{name}={value!r} is invalid")
        assert allowed in answer.error["message"]
    assert direct.total("accepted_total") == before


def test_a_field_in_the_wrong_place_is_refused(direct: Client) -> None:
    answer = direct.chat(max_tokens=5, qoe_tds=4.8)
    assert answer.status == 400
    assert "vllm_xargs" in answer.error["message"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        pytest.param(
            {"messages": [{"role": "user", "content": "x" * 2048}]},
            400,
            "This model's maximum context length is 2048 tokens.",
            id="prompt-too-long",
        ),
        pytest.param(
            {"model": "gpt-5", "messages": [{"role": "user", "content": "x"}]},
            404,
            "The model `gpt-5` does not exist.",
            id="unknown-model",
        ),
        pytest.param(
            {"messages": []},
            400,
            "Cannot apply chat template to an empty conversation.",
            id="empty-messages",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": "x"}], "vllm_xargs": [1]},
            400,
            "vllm_xargs",
            id="xargs-not-a-mapping",
        ),
    ],
)
def test_the_engines_own_errors_come_through(
    direct: Client, request_: dict[str, Any], status: int, said: str, stream: bool
) -> None:
    answer = direct.ask("chat/completions", stream=stream, max_tokens=5, **request_)
    assert answer.status == answer.error["code"] == status
    assert said in answer.error["message"]
    # vLLM's JSON and nobody else's: it has no spaces and these four keys.
    assert b'{"error":{"message":' in answer.body
    assert set(answer.error) == {"message", "type", "param", "code"}


def test_both_replicas_are_used(direct: Client) -> None:
    before = {k: r.accepted_total for k, r in direct.settled().items()}
    ask = partial(direct.complete, stream=True, max_tokens=100, vllm_xargs=READER)
    answers = direct.all_at_once([ask] * 8)
    assert [len(answer.text) for answer in answers] == [100] * 8
    after = {k: r.accepted_total for k, r in direct.settled().items()}
    accepted = {k: after[k] - before[k] for k in after}
    assert len(accepted) == 2
    assert sum(accepted.values()) == 8
    assert min(accepted.values()) > 0, accepted


def test_streams_that_do_not_fit_are_preempted_and_all_finish(direct: Client) -> None:
    before = direct.total("preemptions_total")
    ask = partial(
        direct.complete, "x" * 200, stream=True, max_tokens=400, vllm_xargs=READER
    )
    answers = direct.all_at_once([ask] * 24)
    assert [len(answer.text) for answer in answers] == [400] * 24
    assert direct.total("preemptions_total") > before


def test_a_router_sees_what_the_engines_report(direct: Client) -> None:
    ask = partial(direct.complete, stream=True, max_tokens=20)
    direct.all_at_once([ask] * 4)
    settled = direct.settled()
    handle = direct.service.handle()
    handle.broadcast("engine_report").results()
    router = handle._router._asyncio_router.request_router

    def stats_arrived(_: Any) -> bool:
        seen = {
            replica_id.unique_id: from_routing_stats(replica.routing_stats)
            for replica_id, replica in router.curr_replicas.items()
        }
        return all(
            (report := seen.get(name)) is not None and report.seq == settled[name].seq
            for name in settled
        )

    direct.until(stats_arrived)


def test_replicas_broadcast_which_requests_came_in(direct: Client) -> None:
    handle = direct.service.handle()
    handle.broadcast("engine_report").results()
    router = handle._router._asyncio_router.request_router

    def endpoints() -> dict[str, str]:
        told = {
            replica_id.unique_id: endpoint_of(replica.routing_stats)
            for replica_id, replica in router.curr_replicas.items()
        }
        return {name: endpoint for name, endpoint in told.items() if endpoint}

    direct.until(lambda reports: set(endpoints()) == set(reports))
    listener = ReportListener()
    try:
        listener.listen_to(endpoints())
        heard: dict[Any, EngineReport] = {}

        def all_heard(_: Any) -> bool:
            heard.update(listener.poll())
            return set(heard) == set(endpoints())

        direct.until(all_heard)
        direct.chat(stream=True, max_tokens=5, request_id="asked-for-by-name")
        key = request_key("asked-for-by-name")

        def is_acknowledged(_: Any) -> bool:
            heard.update(listener.poll())
            return sum(key in report.accepted_keys for report in heard.values()) == 1

        direct.until(is_acknowledged)
        assert all(
            len(report.marginal_loss) in (0, MARGINAL_LOSS_SIZE)
            for report in heard.values()
        )
    finally:
        listener.close()
