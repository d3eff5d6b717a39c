"""The tiny model is the same everywhere, whole, and writes one character a token."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from deployments.tiny_model import WRITES, ensure_tiny_model


def digest(directory: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.iterdir())
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return ensure_tiny_model(tmp_path / "tiny")


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, model: Path) -> None:
    assert digest(ensure_tiny_model(tmp_path / "again")) == digest(model)
    assert digest(ensure_tiny_model(tmp_path / "other", seed=1)) != digest(model)


def test_a_model_that_is_there_is_left_alone(model: Path) -> None:
    (model / "config.json").write_text("mine")
    assert (ensure_tiny_model(model) / "config.json").read_text() == "mine"


def test_nothing_but_the_model_is_left(tmp_path: Path, model: Path) -> None:
    assert list(tmp_path.iterdir()) == [model]


def test_half_a_model_in_its_place_is_an_error_and_not_overwritten(tmp_path: Path) -> None:
    half = tmp_path / "tiny"
    half.mkdir()
    (half / "precious").touch()
    with pytest.raises(OSError, match="not empty"):
        ensure_tiny_model(half)
    assert list(tmp_path.rglob("*")) == [half, half / "precious"]


@pytest.mark.parametrize("text", ["Hello, world.", "naïve 😀\n\ttab", "<|user|>", ""])
def test_any_text_survives_the_tokenizer(model: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_only_whole_characters_can_be_written(model: Path) -> None:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    bias = load_file(model / "model.safetensors")["lm_head.weight"][:, 0]
    allowed = {tokenizer.decode([i]) for i in (bias > -10.0).nonzero()[0].tolist()}
    assert allowed == {chr(b) for b in WRITES}
