"""`python -m deployments.k8s`: what the overlays of `k8s/` serve, rendered.

An overlay that serves something has `serve-args.yaml`, its changes of the `args` in
`serve_config.yaml`. `serve-config.yaml` beside it is written here: the patch that gives the
RayService its `serveConfigV2`, so that nothing is typed twice.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from deployments.config import AppArgs
from deployments.config_errors import ConfigError
from deployments.environment import DIRECT_STREAMING_ENV
from deployments.service_config import (
    DEFAULT_CONFIG,
    DEFAULT_PORT,
    EVERY_INTERFACE,
    ServiceConfig,
    load_config,
)
from deployments.tiny_model import PROJECT_ROOT

OVERLAYS = PROJECT_ROOT / "k8s" / "overlays"
ARGS_FILE, RENDERED_FILE = "serve-args.yaml", "serve-config.yaml"
COMMAND = "python -m deployments.k8s"

_PATCH = """\
# Rendered by `{command}` from serve_config.yaml and {args_file}: change those.
apiVersion: ray.io/v1
kind: RayService
metadata:
  name: andes
spec:
  serveConfigV2: |
{serve}"""

app = typer.Typer(add_completion=False, help=__doc__)
console = Console()


@app.command()
def main(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if a file is stale.")
    ] = False,
) -> None:
    """Render the Serve config of every overlay that has its own."""
    try:
        rendered = {path / RENDERED_FILE: render(path) for path in serving_overlays()}
    except ConfigError as error:
        _fail(str(error))
    stale = [path for path, text in rendered.items() if _read(path) != text]
    if check and stale:
        names = ", ".join(_name(path) for path in stale)
        _fail(f"{names} is not what serve_config.yaml says: run `{COMMAND}`")
    for path in stale:
        path.write_text(rendered[path], encoding="utf-8")
        console.print(f"rendered {_name(path)}", highlight=False, soft_wrap=True)


def serving_overlays(overlays: Path = OVERLAYS) -> list[Path]:
    """The overlays with `serve-args.yaml`; the others serve what they build upon."""
    return sorted(path.parent for path in overlays.glob(f"*/{ARGS_FILE}"))


def render(overlay: Path, config: Path = DEFAULT_CONFIG) -> str:
    """The RayService patch of an overlay.

    Args:
        overlay: A folder with `serve-args.yaml`.
        config: The Serve config that it changes.

    Raises:
        ConfigError: The changed config cannot be served, or not on Kubernetes; each
            mistake has a line that starts with the overlay's name.
    """
    try:
        changes = _changes(overlay / ARGS_FILE)
        changed = load_config(config, changes, host=EVERY_INTERFACE)
        require_servable_on_kubernetes(changed)
    except ConfigError as error:
        lines = str(error).splitlines()
        raise ConfigError("\n".join(f"{overlay.name}: {line}" for line in lines)) from None
    serve = yaml.safe_dump(changed.serve, sort_keys=False, allow_unicode=True)
    return _PATCH.format(
        command=COMMAND, args_file=ARGS_FILE, serve=textwrap.indent(serve, "    ")
    )


def require_servable_on_kubernetes(config: ServiceConfig) -> None:
    """Refuse what works on one machine and not in the pods of `k8s/base`.

    Raises:
        ConfigError: With a line for each mistake.
    """
    from deployments.engine import require_engine_kwargs  # noqa: PLC0415 - imports vLLM

    require_engine_kwargs(config.args.engine_kwargs)
    mistakes = _bad_args(config.args)
    if config.port != DEFAULT_PORT:
        mistakes.append(
            f"http_options.port={config.port} is invalid: the pods of k8s/base open "
            f"{DEFAULT_PORT}"
        )
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def _bad_args(args: AppArgs) -> list[str]:
    mistakes = []
    if args.accelerator == "auto":
        mistakes.append(
            "args.accelerator='auto' is invalid: the head decides before a GPU pod is "
            "there; say cpu or gpu"
        )
    if args.streaming != "direct":
        mistakes.append(
            f"args.streaming={args.streaming!r} is invalid: only the direct path asks for "
            f"the API key, and the pods have {DIRECT_STREAMING_ENV}=1"
        )
    if args.model.source.startswith((".", "~")):
        mistakes.append(
            f"args.model.source={args.model.source!r} is invalid: images have no project "
            "root; it must be a hub id or an absolute path"
        )
    return mistakes


def _changes(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path.name} must be a mapping of changed args")
    return content


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _name(path: Path) -> str:
    return path.relative_to(PROJECT_ROOT).as_posix()


def _fail(message: str) -> None:
    console.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
