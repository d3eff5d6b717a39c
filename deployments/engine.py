"""What the engine is given: the accelerator it runs on and the arguments vLLM takes."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

import ray
import torch
from pydantic import TypeAdapter, ValidationError
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.cli_args import FrontendArgs

from deployments.config_errors import ConfigError

Accelerator = Literal["cpu", "gpu"]

# One process a replica speaks for one engine; these are other keys' business.
RESERVED_KWARGS = {
    "model": "set `model.source`",
    "served_model_name": "set `model.id`",
    "scheduler_cls": "set `scheduler`",
    "data_parallel_size": "set `replicas`",
    "max_num_queued_reqs": "set `max_ongoing_requests`",
    "sse_keep_alive_interval": "set `keep_alive_interval_s`",
}
# The default binds every engine's threads to the first core.
CPU_ENV = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
CPU_KWARGS: Mapping[str, Any] = types.MappingProxyType(
    {"enforce_eager": True, "dtype": "float32", "block_size": 128}
)
KV_CACHE_KWARG, KV_CACHE_GIB_ENV = "kv_cache_memory_bytes", "VLLM_CPU_KVCACHE_SPACE"

_SIMPLE = (bool, int, float, str, types.NoneType)


def resolve_accelerator(wanted: Literal["auto", "cpu", "gpu"]) -> Accelerator:
    """`wanted`, or for `auto` a GPU if Ray's cluster, or without one CUDA, shows one."""
    if wanted != "auto":
        return wanted
    if ray.is_initialized():
        return "gpu" if ray.cluster_resources().get("GPU", 0) > 0 else "cpu"
    return "gpu" if torch.cuda.is_available() else "cpu"


def engine_kwargs(accelerator: Accelerator, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over what a CPU needs; a GPU needs nothing."""
    return {**(CPU_KWARGS if accelerator == "cpu" else {}), **given}


def engine_env(
    accelerator: Accelerator, given: Mapping[str, str], kwargs: Mapping[str, Any]
) -> dict[str, str]:
    """`given` over what a CPU needs.

    vLLM's variable for the KV cache beats its argument, so it is set only without one.
    """
    if accelerator == "gpu":
        return dict(given)
    space = {} if kwargs.get(KV_CACHE_KWARG) else {KV_CACHE_GIB_ENV: "1"}
    return {**CPU_ENV, **space, **given}


def require_engine_kwargs(given: Mapping[str, Any]) -> None:
    """Refuse arguments vLLM would refuse, before a replica starts with them.

    Raises:
        ConfigError: Unknown, reserved or of the wrong type; each is named with its value.
    """
    known = _known_types()
    lines = [_mistake(name, value, known) for name, value in given.items()]
    if mistakes := [line for line in lines if line]:
        raise ConfigError("\n".join(mistakes))


def _mistake(name: str, value: Any, known: Mapping[str, Any]) -> str | None:
    key = f"args.engine_kwargs.{name}={value!r}"
    if name in RESERVED_KWARGS:
        return f"{key} is invalid: {RESERVED_KWARGS[name]}"
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"{key} is unknown: vLLM's AsyncEngineArgs has no such argument{hint}"
    if not _is_simple(known[name]):
        return None
    try:
        TypeAdapter(known[name]).validate_python(value, strict=True)
    except ValidationError as error:
        reason = error.errors()[-1]["msg"].replace("Input should be", "it must be")
        return f"{key} is invalid: {reason}"
    return None


def _known_types() -> dict[str, Any]:
    # Serve LLM passes arguments of vLLM's HTTP front end through the same dict.
    fields = (*dataclasses.fields(FrontendArgs), *dataclasses.fields(AsyncEngineArgs))
    return {field.name: _annotation(field) for field in fields}


def _annotation(field: dataclasses.Field[Any]) -> Any:
    # Where vLLM left a name instead of a type, any value is its business.
    annotation: Any = Any if isinstance(field.type, str) else field.type
    # vLLM writes `int = None` for what it fills in itself.
    return annotation | None if field.default is None else annotation


def _is_simple(annotation: Any) -> bool:
    """Whether vLLM takes the annotated values as they are, without converting them."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return all(_is_simple(part) for part in typing.get_args(annotation))
    return annotation in _SIMPLE or typing.get_origin(annotation) is Literal
