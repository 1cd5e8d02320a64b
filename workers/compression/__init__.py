"""From one net to smaller, faster ones. onnxruntime reads its telemetry switch at import: off, before that."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
