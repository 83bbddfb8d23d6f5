# The operator: python -m crowetrade_operator.main. Build from the root of the repository:
#   docker build -f images/operator.Dockerfile -t crowetrade-operator .
FROM docker.io/library/python:3.11-slim-bookworm AS build
WORKDIR /build
# A venv of its own for what is needed to build only; it does not reach the image.
COPY requirements/build.txt requirements/operator.txt requirements/
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements/operator.txt
COPY proto/pyproject.toml proto/pyproject.toml
COPY proto/src proto/src
COPY api/pyproject.toml api/pyproject.toml
COPY api/src api/src
COPY process/pyproject.toml process/pyproject.toml
COPY process/src process/src
COPY operator/pyproject.toml operator/pyproject.toml
COPY operator/src operator/src
RUN PATH=/opt/build/bin:$PATH /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index -w wheels ./proto ./api ./process ./operator \
    && /opt/venv/bin/pip install --no-deps --no-index wheels/*.whl

FROM docker.io/library/python:3.11-slim-bookworm
COPY --from=build /opt/venv /opt/venv
# USER: kopf asks for a user name, and 65532 has none in /etc/passwd.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp USER=crowetrade
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/venv/bin/python", "-m", "crowetrade_operator.main"]
