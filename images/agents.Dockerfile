# Gateways and strategies: python -m crowetrade_agents.runtime gateway|strategy. Build from the root of the repository:
#   docker build -f images/agents.Dockerfile -t crowetrade-agents .
# To add your own models: FROM this image, USER root, RUN /opt/venv/bin/python -m pip install ..., USER 65532:65532.
FROM docker.io/library/python:3.11-slim-bookworm AS build
WORKDIR /build
# A venv of its own for what is needed to build only; it does not reach the image.
COPY requirements/build.txt requirements/agents.txt requirements/sample-data.txt requirements/
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements/agents.txt
COPY images/sample_data.py images/
RUN /opt/build/bin/pip download --no-cache-dir --no-deps --only-binary=:all: --require-hashes \
      -r requirements/sample-data.txt -d samples \
    && python3 images/sample_data.py samples /usr/share/crowetrade/data
COPY proto/pyproject.toml proto/pyproject.toml
COPY proto/src proto/src
COPY api/pyproject.toml api/pyproject.toml
COPY api/src api/src
COPY process/pyproject.toml process/pyproject.toml
COPY process/src process/src
COPY agents/pyproject.toml agents/pyproject.toml
COPY agents/src agents/src
RUN PATH=/opt/build/bin:$PATH /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index -w wheels ./proto ./api ./process ./agents \
    && /opt/venv/bin/pip install --no-deps --no-index wheels/*.whl

FROM docker.io/library/python:3.11-slim-bookworm
COPY --from=build /opt/venv /opt/venv
COPY --from=build /usr/share/crowetrade/data /usr/share/crowetrade/data
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp CROWETRADE_SAMPLE_DATA=/usr/share/crowetrade/data
USER 65532:65532
EXPOSE 8080 50051
ENTRYPOINT ["/opt/venv/bin/python", "-m", "crowetrade_agents.runtime"]
