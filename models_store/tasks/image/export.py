"""Export of images: what file comes out, and one that takes images of any size."""

from pydantic import Field

from models_store.spec.export import Export


class ImageExport(Export):
    """The ONNX file: it takes raw uint8 pixels, and contains normalisation and softmax."""

    any_size: bool = Field(
        default=True,
        description="also make a file of the fp32 variant that takes whole images of any size, for use elsewhere (docs/portable.md); it contains the resize, and is for download only",
    )
