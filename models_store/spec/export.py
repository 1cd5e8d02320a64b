"""What file comes out."""

from pydantic import Field

from models_store.spec.part import Part


class Export(Part):
    """The ONNX file: normalisation and softmax are in it, and it takes raw uint8 pixels."""

    opset: int = Field(20, ge=18, le=22, description="ONNX operator set version")
