"""Export: the properties of the ONNX file."""

from pydantic import Field

from models_store.spec.part import Part


class Export(Part):
    """The ONNX file: it takes raw uint8 pixels, and contains normalisation and softmax."""

    opset: int = Field(20, ge=18, le=22, description="ONNX operator set version")
    any_size: bool = Field(
        default=True,
        description="also make a file of the fp32 variant that takes whole images of any size, for use elsewhere (docs/portable.md); it contains the resize, and is for download only",
    )
