"""The typed `args` of `serve_config.yaml`.

Whatever is wrong with them is said when the application is built, in one line a mistake:
the key, the value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from deployments.access.caller import ShareBy
from deployments.access.caps import CapArgs
from deployments.config_errors import ConfigError, lines_of
from qoe import PROFILES, Expectation
from qoe.expectation import PATIENCE_RANGE_S, shown
from router.scaling import ScalingSettings
from router.settings import RouterSettings
from scheduler.settings import PolicyName, SchedulerSettings

# These are said once, by other keys of the same file.
DERIVED_SETTINGS = {
    "policy": "scheduler",
    "default_ttft_s": "default_profile",
    "default_tds": "default_profile",
    "default_patience_s": "default_patience_s",
}

# What gives vLLM a KV connector.
CONNECTORS = frozenset({"kv_transfer_config", "kv_offloading_size"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelArgs(_Strict):
    """Which model answers, and under which name."""

    id: str = Field(min_length=1, description="Name that clients ask for.")
    source: str = Field(
        min_length=1,
        description="Hub id or local directory; a relative one starts at the project root.",
    )


class AndesArgs(SchedulerSettings):
    """The settings of the Andes scheduler that no other key says."""

    @model_validator(mode="before")
    @classmethod
    def _says_nothing_twice(cls, given: Any) -> Any:
        for name, owner in DERIVED_SETTINGS.items():
            if isinstance(given, Mapping) and name in given:
                raise ValueError(
                    f"{name}={shown(given[name])} belongs to the key `{owner}`"
                )
        return given


def _expectation(given: Any) -> Any:
    if isinstance(given, Mapping) and set(given) == {"ttft_s", "tds"}:
        return Expectation(**given)
    if isinstance(given, str) and given in PROFILES:
        return PROFILES[given].expectation
    if isinstance(given, Expectation):
        return given
    raise ValueError(
        f"{shown(given)} is invalid: it must be one of {', '.join(PROFILES)}, "
        "or ttft_s (seconds) and tds (tokens/s)"
    )


class AppArgs(_Strict):
    """Everything `deployments.app:build_app` takes."""

    model: ModelArgs
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="auto takes a GPU where Ray or CUDA shows one."
    )
    accelerator_type: str | None = Field(
        default=None, description="Ray's name of the GPU to ask for, such as H100."
    )
    replicas: PositiveInt = 2
    autoscaling: ScalingSettings | None = Field(
        default=None, description="Null keeps `replicas`; else that many are the start."
    )
    num_cpus: PositiveFloat = Field(
        default=1.0, description="CPUs Ray sets aside for each replica; may be a fraction."
    )
    max_ongoing_requests: PositiveInt = Field(
        default=2_000,
        description="Requests that an engine holds, waiting ones among them; more are "
        "refused with 503. Far above its batch, or nobody waits for the scheduler.",
    )
    graceful_shutdown_timeout_s: float = Field(
        default=900.0,
        ge=0.0,
        le=86_400.0,
        description="How long a replica that is to go may take to end its streams.",
    )
    scheduler: PolicyName = Field(
        default="andes",
        description="fcfs is vLLM's own order, measured the same way; "
        "package.module:Class is another policy, for a comparison.",
    )
    andes: AndesArgs = Field(default_factory=AndesArgs)
    router: Literal["qoe", "pow2", "round_robin"] = "qoe"
    router_settings: dict[str, Any] = Field(
        default_factory=dict, description="Fields of RouterSettings; for `router: qoe`."
    )
    default_profile: Annotated[InstanceOf[Expectation], BeforeValidator(_expectation)] = (
        Field(
            default=PROFILES["reading"].expectation,
            description="What the reader of a request without QoE fields expects.",
        )
    )
    default_patience_s: float | None = Field(
        default=None,
        ge=PATIENCE_RANGE_S[0],
        le=PATIENCE_RANGE_S[1],
        description="A request that says nothing is refused when its first token cannot "
        "come within this; null for never.",
    )
    caps: CapArgs = Field(
        default_factory=CapArgs,
        description="What a request may ask for; an API key may have caps of its own.",
    )
    api_keys_file: str | None = Field(
        default=None,
        min_length=1,
        description="A list of API keys, on every node; null for those of the "
        "environment, or none.",
    )
    share_by: ShareBy = Field(
        default="key", description="What tells those apart who share an engine."
    )
    streaming: Literal["direct", "handle"] = Field(
        default="direct",
        description="direct: HAProxy streams from the replica; handle: through Serve.",
    )
    keep_alive_interval_s: float | None = Field(
        default=3.0,
        ge=0.5,
        le=60.0,
        description="A stream that is silent for this long is sent a comment; null for "
        "never. Many clients give up on a silent connection after 5 s.",
    )
    ingress_replicas: PositiveInt = Field(
        default=1, description="HTTP replicas of `streaming: handle`."
    )
    max_continuations: NonNegativeInt = Field(
        default=3,
        description="How often an answer may lose its replica; for `streaming: handle`.",
    )
    resume_timeout_s: PositiveFloat = Field(
        default=5.0,
        description="How long the reader of a part of an answer waits for another "
        "replica to go on; for `streaming: handle`.",
    )
    engine_timeout_s: float = Field(
        default=30.0,
        ge=5.0,
        le=3600.0,
        description="An engine that answers nothing for so long is killed and replaced; "
        "more where a single step takes longer.",
    )
    engine_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of vLLM's AsyncEngineArgs."
    )
    engine_env: dict[str, str] = Field(
        default_factory=dict, description="Environment variables of the engine."
    )

    @field_validator("router_settings")
    @classmethod
    def _are_router_settings(cls, given: dict[str, Any]) -> dict[str, Any]:
        RouterSettings.from_kwargs(given)
        return given

    @model_validator(mode="after")
    def _path_and_router_can_do_it(self) -> Self:
        if self.share_by == "address" and self.streaming == "direct":
            raise ValueError(
                "share_by='address' is invalid with streaming='direct': Serve's HAProxy "
                "tells no replica the address of a client. Set streaming: handle"
            )
        if self.router_settings and self.router != "qoe":
            raise ValueError(
                f"router_settings={shown(self.router_settings)} is invalid: "
                f"router={self.router!r} has none; they are for router='qoe'"
            )
        return self

    @model_validator(mode="after")
    def _engine_is_ours_to_schedule(self) -> Self:
        order = self.engine_kwargs.get("scheduling_policy", "fcfs")
        if order != "fcfs" and self.scheduler != "fcfs":
            raise ValueError(
                f"engine_kwargs.scheduling_policy={shown(order)} is invalid with "
                f"scheduler={self.scheduler!r}, which orders the streams itself: it must "
                "be 'fcfs', or set scheduler: fcfs"
            )
        if self.andes.resume == "offload" and not CONNECTORS & self.engine_kwargs.keys():
            raise ValueError(
                "andes.resume='offload' is invalid without a KV connector, which would "
                f"bring the KV back: set one of {', '.join(sorted(CONNECTORS))} in "
                "engine_kwargs, or resume: recompute"
            )
        return self

    @model_validator(mode="after")
    def _starts_within_bounds(self) -> Self:
        bounds = self.autoscaling
        if bounds is not None and bounds.bounded(self.replicas) != self.replicas:
            raise ValueError(
                f"replicas={self.replicas} is invalid: it must be from "
                f"autoscaling.min_replicas={bounds.min_replicas} to "
                f"autoscaling.max_replicas={bounds.max_replicas}"
            )
        return self

    @property
    def scheduler_settings(self) -> SchedulerSettings:
        """What the engine's scheduler is told, with the keys of other names filled in."""
        derived = {
            "policy": self.scheduler,
            "default_ttft_s": self.default_profile.ttft_s,
            "default_tds": self.default_profile.tds,
            "default_patience_s": self.default_patience_s,
        }
        return SchedulerSettings.model_validate(self.andes.model_dump() | derived)

    @property
    def router_kwargs(self) -> dict[str, Any]:
        """What the router is told, with the keys of other names filled in."""
        if self.router != "qoe":
            return {}
        reader = self.default_profile
        return {"default_ttft_s": reader.ttft_s, "default_tds": reader.tds} | (
            self.router_settings
        )

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> AppArgs:
        """The arguments in `given`.

        Raises:
            ConfigError: Unknown, missing or bad keys; each is named with its value.
        """
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            raise ConfigError(lines_of(error, _MODELS, hidden=DERIVED_SETTINGS)) from None


_MODELS: dict[tuple[int | str, ...], type[BaseModel]] = {
    (): AppArgs,
    ("model",): ModelArgs,
    ("andes",): AndesArgs,
    ("caps",): CapArgs,
    ("autoscaling",): ScalingSettings,
}
