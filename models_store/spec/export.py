"""Export: what file comes out."""

from pydantic import Field

from models_store.spec.part import Part


class Export(Part):
    """The ONNX file: all that follows the decoding of an example is in it."""

    opset: int = Field(20, ge=18, le=22, description="ONNX operator set version")
