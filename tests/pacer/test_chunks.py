import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

from pacer.chunks import Chunks, Delta, StreamBroken

HEAD = {"id": "a", "created": 0, "model": "m"}


def chat(delta: dict[str, object], **more: object) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": None} | more
    return HEAD | {"object": "chat.completion.chunk", "choices": [choice]}


def completion(text: str, **more: object) -> dict[str, object]:
    choice = {"index": 0, "text": text, "finish_reason": None, "logprobs": None} | more
    return HEAD | {"object": "text_completion", "choices": [choice]}


def scored(token: str) -> dict[str, object]:
    return {"token": token, "logprob": -1.0, "bytes": None, "top_logprobs": []}


@pytest.mark.parametrize(
    ("chunk", "delta"),
    [
        pytest.param("text", Delta("text"), id="text"),
        pytest.param("", Delta(), id="no text"),
        pytest.param(chat({"role": "assistant", "content": ""}), Delta(), id="the head"),
        pytest.param(chat({"content": " a"}), Delta(" a"), id="chat"),
        pytest.param(completion(" a"), Delta(" a"), id="completion"),
        pytest.param(
            completion(" a b", token_ids=[5, 6]),
            Delta(" a b", 2, [5, 6]),
            id="token ids",
        ),
        pytest.param(
            chat({"content": " a b c"}, logprobs={"content": [scored(" ")] * 3}),
            Delta(" a b c", 3),
            id="logprobs of a chat",
        ),
        pytest.param(
            completion(" a b", logprobs={"tokens": [" a", " b"]}),
            Delta(" a b", 2),
            id="logprobs of a completion",
        ),
        pytest.param(
            chat({"content": ""}, token_ids=[7]), Delta("", 1, [7]), id="half a character"
        ),
        pytest.param(
            chat({"reasoning_content": "hm"}, token_ids=[8]),
            Delta("", None, [8], "hm"),
            id="reasoning",
        ),
        pytest.param(
            chat({"reasoning": "hm", "content": None}),
            Delta(reasoning="hm"),
            id="reasoning by its newer name",
        ),
        pytest.param(
            chat({"reasoning_content": "so", "content": "Yes"}),
            Delta("Yes", None, (), "so"),
            id="the end of reasoning",
        ),
        pytest.param(
            chat({"tool_calls": [{"index": 0}]}, token_ids=[9]),
            Delta("", None, [9], "", [{"index": 0}]),
            id="a call of a tool",
        ),
        pytest.param(chat({"refusal": "No."}), Delta("No."), id="a refusal"),
        pytest.param(HEAD | {"choices": []}, Delta(), id="no choice"),
        pytest.param(completion(" b", index=1), Delta(), id="another choice"),
    ],
)
def test_a_chunk_says_what_it_adds(chunk: dict[str, object] | str, delta: Delta) -> None:
    assert Chunks().read(chunk) == delta


@pytest.mark.parametrize(
    ("chunk", "delta"),
    [
        (
            ChatCompletionChunk.model_validate(chat({"content": " a b"}, token_ids=[1, 2])),
            Delta(" a b", 2, [1, 2]),
        ),
        (
            ChatCompletionChunk.model_validate(chat({"reasoning_content": "hm"})),
            Delta(reasoning="hm"),
        ),
        (
            Completion.model_construct(
                **Completion.model_validate(
                    completion(" a", finish_reason="stop", token_ids=[3])
                ).__dict__
            ),
            Delta(" a", 1, [3]),
        ),
    ],
    ids=["chat", "reasoning", "completion"],
)
def test_objects_of_the_sdk_read_as_their_json(chunk: object, delta: Delta) -> None:
    assert Chunks().read(chunk) == delta


def with_usage(text: str, total: int) -> dict[str, object]:
    return completion(text) | {"usage": {"completion_tokens": total}}


def test_usage_that_comes_with_every_chunk_counts_tokens() -> None:
    chunks = Chunks()
    counts = [chunks.read(with_usage("text", total)).tokens for total in (1, 4, 6)]
    assert counts == [1, 3, 2]


def total(tokens: int, **details: int) -> dict[str, object]:
    usage = {"completion_tokens": tokens, "completion_tokens_details": details}
    return HEAD | {"choices": [], "usage": usage}


def test_usage_that_comes_at_the_end_counts_all_text() -> None:
    chunks = Chunks()
    chunks.read(completion(" a lot of text"))
    assert chunks.read(with_usage(" b", 100)) == Delta(" b", all_tokens=100)
    assert chunks.read(total(101, reasoning_tokens=20)).all_tokens == 81


@pytest.mark.parametrize(
    "more",
    [
        chat({"tool_calls": [{"index": 0}]}),
        chat({"reasoning": "hm"}),
        completion("another", index=1),
    ],
    ids=["a tool's", "reasoning", "another answer"],
)
def test_a_total_of_more_than_the_text_counts_nothing(more: dict[str, object]) -> None:
    chunks = Chunks()
    chunks.read(chat({"content": "text"}))
    chunks.read(more)
    assert chunks.read(total(100)).all_tokens is None


def test_a_total_of_text_that_was_counted_says_nothing_new() -> None:
    """An engine counts the end of the answer too, which has no text."""
    chunks = Chunks()
    chunks.read(completion(" a b", token_ids=[5, 6]))
    assert chunks.read(total(3)).all_tokens is None


def test_usage_of_another_answer_does_not_count_for_the_first() -> None:
    chunks = Chunks()
    counts = [chunks.read(with_usage("text", 3)).tokens]
    other = completion("other", index=1) | {"usage": {"completion_tokens": 9}}
    assert chunks.read(other) == Delta()
    counts.append(chunks.read(with_usage("text", 5)).tokens)
    assert counts == [3, 2]


def test_only_an_answer_without_a_reason_to_finish_is_cut() -> None:
    chunks = Chunks()
    assert not chunks.is_cut
    chunks.read(completion(" a"))
    assert chunks.is_cut
    chunks.read(completion("", finish_reason="length"))
    chunks.read(HEAD | {"choices": []})
    assert not chunks.is_cut


def test_text_is_never_cut() -> None:
    chunks = Chunks()
    chunks.read("text")
    assert not chunks.is_cut


def test_an_error_event_breaks_the_stream_with_its_message() -> None:
    with pytest.raises(StreamBroken, match=r"^the replica died$"):
        Chunks().read({"error": {"code": 503, "message": "the replica died"}})


@pytest.mark.parametrize("item", [b"bytes", 1, None, {"no": "choices"}], ids=repr)
def test_what_is_no_chunk_is_refused_by_its_type(item: object) -> None:
    with pytest.raises(TypeError, match=rf"yielded {type(item).__name__}: it must be text"):
        Chunks().read(item)


@pytest.mark.parametrize(
    ("chunk", "delta"),
    [
        pytest.param(completion("a", token_ids=5), Delta("a"), id="token ids"),
        pytest.param(completion("a", logprobs={"tokens": 5}), Delta("a"), id="logprobs"),
        pytest.param(completion("a", logprobs="abc"), Delta("a"), id="methods of text"),
        pytest.param(chat({"content": "a", "tool_calls": True}), Delta("a"), id="calls"),
        pytest.param(
            completion("a") | {"usage": {"completion_tokens": float("inf")}},
            Delta("a"),
            id="usage",
        ),
        pytest.param(
            completion("a") | {"usage": {"completion_tokens": "9"}}, Delta("a"), id="count"
        ),
    ],
)
def test_a_count_that_is_none_is_not_said(chunk: dict[str, object], delta: Delta) -> None:
    assert Chunks().read(chunk) == delta


@pytest.mark.parametrize("content", [5, ["a"], {"a": 1}, True])
def test_text_that_is_no_text_is_named(content: object) -> None:
    with pytest.raises(TypeError, match=r"the stream's content is \w+: it must be"):
        Chunks().read(chat({"content": content}))


def test_a_name_that_is_no_text_is_none() -> None:
    chunks = Chunks()
    chunks.read(completion("a") | {"id": 5})
    assert chunks.request_id is None
