# The worker: Celery's wake-ups, the supervisor, the trainer with torch and CUDA. Build from the repository's root:
#   docker build -f docker/worker.Dockerfile -t espalier-worker .
# torch's wheels bring CUDA's libraries along; the host needs NVIDIA's driver and container toolkit only.
FROM python:3.11-slim AS build
RUN pip install --no-cache-dir uv
WORKDIR /app
COPY requirements.lock ./
RUN uv venv /venv && uv pip install --compile-bytecode --python /venv/bin/python --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY models_store models_store
COPY workers workers
RUN /venv/bin/python -m compileall -q models_store workers

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home espalier && install -d -o espalier /data /blobs /weights
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
# REMAP_SIGTERM: `docker stop` lets a running job save a checkpoint and go back to the queue
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ESPALIER_HOME=/data REMAP_SIGTERM=SIGQUIT
USER espalier
CMD ["celery", "-A", "workers.process.wake_up:app", "worker", "--concurrency", "1", "--loglevel", "WARNING", \
     "--without-gossip", "--without-mingle"]
