"""Readers say where they are: through Serve's own ingress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.service.conftest import Client


def test_a_paused_stream_gives_way_and_comes_back(
    handle: Client, reader_of: Any, gives_way_and_comes_back: Any
) -> None:
    gives_way_and_comes_back(reader_of(handle))


def test_bad_words_and_other_streams_are_refused(
    handle: Client, reader_of: Any, refuses_bad_words: Any
) -> None:
    refuses_bad_words(reader_of(handle))
