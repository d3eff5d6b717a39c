from typing import Any

import pytest

from router.affinity import (
    BLOCK_CHARS,
    MAX_BLOCKS_PER_PROMPT,
    PrefixMap,
    SessionHomes,
    prefix_keys,
)


def test_only_whole_blocks_of_a_common_beginning_are_counted() -> None:
    prefixes = PrefixMap()
    text = "".join(chr(65 + i % 26) for i in range(3 * BLOCK_CHARS))
    prefixes.sent(prefix_keys({"prompt": text}), "a")
    prefixes.sent(prefix_keys({"prompt": text[: BLOCK_CHARS + 5]}), "b")
    asked = prefix_keys({"prompt": text + "more"})
    assert list(prefixes.cached_blocks(asked, ["a", "b", "c"])) == [3, 1, 0]
    other = prefix_keys({"prompt": "x" + text})
    assert list(prefixes.cached_blocks(other, ["a", "b", "c"])) == [0, 0, 0]


def test_a_chat_and_token_ids_have_prefixes_too() -> None:
    system = {"role": "system", "content": "s" * 2000}
    first, second = (
        prefix_keys({"messages": [system, {"role": "user", "content": c * 900}]})
        for c in "pq"
    )
    assert first[0] == second[0]
    assert first[-1] != second[-1]
    assert len(prefix_keys({"prompt": list(range(600))})) == 2
    assert len(prefix_keys({"prompt": "x" * 10**6})) == MAX_BLOCKS_PER_PROMPT


@pytest.mark.parametrize(
    "body", [None, 7, {"prompt": [[1], [2]] * 300}, {"messages": [7]}, {"prompt": ""}]
)
def test_what_has_no_prefix_has_no_keys(body: Any) -> None:
    assert prefix_keys(body) == []


def test_memory_is_bounded() -> None:
    prefixes, homes = PrefixMap(max_blocks=10), SessionHomes(max_sessions=10)
    for number in range(100):
        prefixes.sent([number, -number - 1], "a")
        homes.moved(f"s{number}", "a")
    assert len(prefixes) == len(homes) == 10
    assert homes.home("s99") == "a"
    assert homes.home("s0") is None


def test_a_replica_that_is_gone_is_nobodys_home() -> None:
    prefixes, homes = PrefixMap(), SessionHomes()
    prefixes.sent([1], "a")
    homes.moved("s", "a")
    homes.moved("", "a")
    prefixes.retain({"b"})
    homes.retain({"b"})
    assert list(prefixes.cached_blocks([1], ["a"])) == [0]
    assert len(homes) == 0
