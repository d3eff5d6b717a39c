import asyncio

import aiohttp
import httpx
import openai
import pytest

from pacer.breaks import Received, is_break
from pacer.chunks import StreamBroken
from qoe import parse_progress

REQUEST = httpx.Request("POST", "http://service/v1/completions")


def status_error(kind: type[openai.APIStatusError], status: int) -> openai.APIStatusError:
    return kind("said", response=httpx.Response(status, request=REQUEST), body=None)


def event_error(code: int) -> openai.APIError:
    return openai.APIError("said", REQUEST, body={"code": code})


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        asyncio.IncompleteReadError(b"", 1),
        StreamBroken("cut"),
        httpx.RemoteProtocolError("incomplete chunked read"),
        httpx.ReadTimeout("nothing came"),
        aiohttp.ClientPayloadError(),
        aiohttp.ServerDisconnectedError(),
        openai.APIConnectionError(request=REQUEST),
        event_error(503),
        status_error(openai.InternalServerError, 503),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_service_or_a_connection_that_failed_is_a_break(error: Exception) -> None:
    assert is_break(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        status_error(openai.BadRequestError, 400),
        status_error(openai.RateLimitError, 429),
        event_error(400),
        httpx.HTTPStatusError("404", request=REQUEST, response=httpx.Response(404)),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_asking_again_does_not_mend_is_none(error: BaseException) -> None:
    assert not is_break(error)


def test_the_fields_are_what_the_service_reads() -> None:
    fields = Received("abc", (1, 2, 3), age_s=2.5, slack_s=-0.5).vllm_xargs
    progress = parse_progress(fields)
    assert (progress.tokens, progress.age_s, progress.slack_s) == (3, 2.5, -0.5)


def test_a_reader_of_hours_keeps_to_the_limits_of_the_fields() -> None:
    fields = Received("abc", (1,), age_s=1e5, slack_s=-1e5).vllm_xargs
    assert parse_progress(fields).age_s == 3600.0


def test_nothing_received_asks_for_all_of_it() -> None:
    assert Received("", (), age_s=1.0, slack_s=0.0).vllm_xargs == {}


def test_text_without_token_ids_cannot_be_continued() -> None:
    with pytest.raises(ValueError, match="return_token_ids"):
        _ = Received("abc", (), age_s=1.0, slack_s=0.0).vllm_xargs
