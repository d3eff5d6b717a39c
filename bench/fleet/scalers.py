"""The autoscalers of a replay: what production decides with, on a virtual clock."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ray.serve.config import AutoscalingConfig

from bench.errors import UserError, shown
from bench.fleet.arguments import Fleet
from bench.fleet.scaling import Scaler, Scaling
from deployments.autoscaling import PUSH_PERIOD_S, OngoingState, ongoing_policy
from router.replica_load import FleetLoad
from router.scaling import ScalingSettings, ScalingState, decide

Settings = TypeVar("Settings", bound=BaseModel)

# Replaying Serve's default policy needs no more of its config.
_ONGOING_FIELDS = (
    "target_ongoing_requests",
    "look_back_period_s",
    "upscale_delay_s",
    "downscale_delay_s",
    "upscaling_factor",
    "downscaling_factor",
)
_BOUNDS = ("min_replicas", "max_replicas")
_QOE_FIELDS = tuple(f for f in ScalingSettings.model_fields if f not in _BOUNDS)


class QoEScaler:
    """`router.scaling.decide`, which the policy in Serve's controller calls as well."""

    def __init__(self, settings: ScalingSettings, period_s: float) -> None:
        self.period_s = period_s
        self._settings = settings
        self._state = ScalingState()

    @property
    def settings(self) -> dict[str, Any]:
        return self._settings.model_dump()

    def target(self, fleet: FleetLoad, replicas: int, now_s: float) -> int:
        number, self._state = decide(fleet, replicas, self._state, self._settings, now_s)
        return number


class OngoingScaler:
    """Serve's own policy on ongoing requests."""

    def __init__(self, config: AutoscalingConfig, period_s: float) -> None:
        self.period_s = period_s
        self._config = config
        self._state = OngoingState()

    @property
    def settings(self) -> dict[str, Any]:
        return {name: getattr(self._config, name) for name in (*_BOUNDS, *_ONGOING_FIELDS)}

    def target(self, fleet: FleetLoad, replicas: int, now_s: float) -> int:
        number, self._state = ongoing_policy(
            fleet, replicas, self._state, self._config, now_s
        )
        return number


def scaler_of(scaling: Scaling, fleet: Fleet) -> Scaler:
    """The autoscaler, without a past.

    Raises:
        UserError: It has no such setting, or not of this value.
    """
    bounds = {"min_replicas": fleet.min_replicas, "max_replicas": fleet.max_replicas}
    # As often as replicas push what they know to Serve.
    period_s = fleet.autoscale_period_s or PUSH_PERIOD_S
    if scaling.name == "qoe":
        settings = _validated(ScalingSettings, _QOE_FIELDS, scaling, bounds)
        return QoEScaler(settings, period_s)
    config = _validated(AutoscalingConfig, _ONGOING_FIELDS, scaling, bounds)
    return OngoingScaler(config, period_s)


def _validated(
    model: type[Settings], fields: tuple[str, ...], scaling: Scaling, bounds: dict[str, int]
) -> Settings:
    overrides = dict(scaling.settings)
    for key in overrides:
        if key not in fields:
            raise UserError(
                f"--autoscale {scaling.name},{shown(key)}=... is invalid: the settings of "
                f"{scaling.name} are {', '.join(fields)}."
            )
    try:
        with warnings.catch_warnings():
            # Serve warns of intervals at which nobody reports here.
            warnings.simplefilter("ignore")
            return model.model_validate(bounds | overrides)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"--autoscale {scaling.name},{key}={shown(overrides.get(key, ''))} is invalid: "
            f"{reason[:1].lower()}{reason[1:]}."
        ) from None
