# Gateways and the risk auditor: python -m crowetrade_agents.runtime gateway|risk-auditor. No pip is in it.
# Build from the root of the repository:
#   docker build -f images/gateway.Dockerfile -t crowetrade-gateway .
# `make pin-images` adds the digest, where a registry is reached.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
# What is needed to build only, pip among it, has a venv of its own, which does not reach the image.
COPY requirements/build.txt requirements/gateway.txt requirements/sample-data.txt requirements/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && python3 -m venv --without-pip /opt/venv \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r requirements/gateway.txt
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
COPY gateway/pyproject.toml gateway/pyproject.toml
COPY gateway/src gateway/src
RUN PATH=/opt/build/bin:$PATH /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index -w wheels ./proto ./api ./process ./agents ./gateway \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --no-deps --no-index wheels/*.whl

FROM ${PYTHON_IMAGE}
# The pip of the base, where Docker's image of Python and where Debian has it. Python's own tools fail without it.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip \
      /usr/lib/python3*/ensurepip /usr/share/python-wheels \
    && ! python3 -m pip --version && ! python3 -m ensurepip --version
COPY --from=build /opt/venv /opt/venv
COPY images/sbom/gateway.cdx.json /usr/share/crowetrade/sbom.cdx.json
COPY --from=build /usr/share/crowetrade/data /usr/share/crowetrade/data
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp CROWETRADE_SAMPLE_DATA=/usr/share/crowetrade/data
USER 65532:65532
EXPOSE 8080 50051 50052
ENTRYPOINT ["/opt/venv/bin/python", "-m", "crowetrade_agents.runtime"]
