"""From the trained net to a measured file. onnxruntime reads its telemetry switch at import: off, before that."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
