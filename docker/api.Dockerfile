# The API: routes and onnxruntime, without torch. Build from the repository's root:
#   docker build -f docker/api.Dockerfile -t espalier-api .
FROM python:3.11-slim AS build
RUN pip install --no-cache-dir uv
WORKDIR /app
COPY requirements-api.lock ./
RUN uv venv /venv && uv pip install --compile-bytecode --python /venv/bin/python --require-hashes -r requirements-api.lock
COPY pyproject.toml README.md LICENSE ./
COPY models_store models_store
COPY service service
RUN /venv/bin/python -m compileall -q models_store service

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home espalier && install -d -o espalier /data /blobs
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ESPALIER_HOME=/data
USER espalier
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
# it refuses to start without API_KEYS: the port is open to whoever reaches the container
CMD ["python", "-m", "service.server", "--host", "0.0.0.0", "--port", "8000"]
