FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app
COPY locks/build.txt locks/base.txt locks/
RUN pip install --require-hashes -r locks/build.txt -r locks/base.txt
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY operators operators
COPY rxbridge rxbridge
RUN pip install --no-deps --no-build-isolation .

# The journal outlives the container on this volume.
RUN useradd --system --uid 10001 rxbridge && install -d -o rxbridge /data
USER rxbridge
WORKDIR /data
VOLUME /data
ENV RXBRIDGE_JOURNAL_PATH=/data/rxbridge.journal TZ=UTC

# Healthy: the configuration is valid, the journal can be read, and the disk has room.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["rxbridge", "check", "--offline"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["rxbridge"]
CMD ["run"]
