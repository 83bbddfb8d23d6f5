# The operator: python -m crowetrade_operator.main. No pip is in it. Build from the root of the repository:
#   docker build -f images/operator.Dockerfile -t crowetrade-operator .
# `make pin-images` adds the digest, where a registry is reached.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
# What is needed to build only, pip among it, has a venv of its own, which does not reach the image.
COPY requirements/build.txt requirements/operator.txt requirements/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && python3 -m venv --without-pip /opt/venv \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r requirements/operator.txt
COPY proto/pyproject.toml proto/pyproject.toml
COPY proto/src proto/src
COPY api/pyproject.toml api/pyproject.toml
COPY api/src api/src
COPY process/pyproject.toml process/pyproject.toml
COPY process/src process/src
COPY operator/pyproject.toml operator/pyproject.toml
COPY operator/src operator/src
RUN PATH=/opt/build/bin:$PATH /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index -w wheels ./proto ./api ./process ./operator \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --no-deps --no-index wheels/*.whl

FROM ${PYTHON_IMAGE}
# The pip of the base, where Docker's image of Python and where Debian has it. Python's own tools fail without it.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip \
      /usr/lib/python3*/ensurepip /usr/share/python-wheels \
    && ! python3 -m pip --version && ! python3 -m ensurepip --version
COPY --from=build /opt/venv /opt/venv
COPY images/sbom/operator.cdx.json /usr/share/crowetrade/sbom.cdx.json
# USER: kopf asks for a user name, and 65532 has none in /etc/passwd.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp USER=crowetrade
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/venv/bin/python", "-m", "crowetrade_operator.main"]
