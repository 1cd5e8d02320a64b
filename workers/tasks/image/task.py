"""Learning from images, as stages and stories use it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models_store.datasets.store import ManifestEntry
from models_store.settings import Settings
from models_store.spec.train import ResolvedSpec
from models_store.tasks.image.contract import IMAGE as CONTRACT
from models_store.tasks.image.preview import Preview
from models_store.tasks.image.spec import of_images
from models_store.tasks.rooms import target_of
from workers.export.served import Served
from workers.tasks.image import any_size, examples, net, noise, preview, test_time_augmentation
from workers.tasks.image import served as image_served
from workers.tasks.image.examples import INPUT
from workers.tasks.image.net import Classifier
from workers.tasks.task import Outputs, Picture, Task
from workers.training.examples import Examples, Inputs, Rows
from workers.training.learner import Learner


class ImageTask(Task):
    """Images of one class, with labels, or with a number."""

    names: ClassVar[Sequence[str]] = tuple(CONTRACT.targets)

    def examples(
        self,
        spec: ResolvedSpec,
        manifest: Sequence[ManifestEntry],
        content: Path,
        *,
        classes: list[str],
        digest: str,
        auxiliary: Mapping[str, bytes],  # noqa: ARG002  images have none
        start: Path | None,  # noqa: ARG002  nothing of an image depends on it
        settings: Settings,
        report: Callable[[float], None],
    ) -> Examples:
        """Return the images as one array of pixels.

        Raises:
            UndecodableImage: if a file of the dataset can't be read.
            StorageFull: if the array does not fit on the disk.
        """
        return examples.prepare(
            manifest,
            content,
            classes=classes,
            digest=digest,
            spec_input=of_images(spec).input,
            cache=settings.scratch / "cache",
            cache_max_bytes=settings.cache_max_bytes,
            max_pixels=settings.image_max_pixels,
            report=report,
        )

    def noise(
        self,
        spec: ResolvedSpec,
        *,
        classes: Sequence[str],
        count: int,
        start: Path | None = None,  # noqa: ARG002  as above
    ) -> Examples:
        """Return one image of noise, so many times."""
        return noise.noise(spec, classes=classes, count=count)

    def show(self, examples: Examples, row: int) -> Picture | None:
        """Return the image as the net sees it."""
        pixels: Picture = examples.inputs[INPUT][row]
        return pixels

    def build(
        self,
        spec: ResolvedSpec,
        *,
        class_count: int,
        weights_dir: Path,
        examples: Examples,  # noqa: ARG002  an image net takes nothing from them
        initial_weights: Path | None = None,
        last_layer: nn.Module | None = None,
    ) -> Classifier:
        """Return a backbone with a head.

        Raises:
            WeightsUnavailable: if the backbone's published weights can't be had.
            WeightsUnfit: if `initial_weights`, or a file in `weights_dir`, does not fit the backbone.
        """
        return net.build(
            spec,
            class_count=class_count,
            weights_dir=weights_dir,
            initial_weights=initial_weights,
            last_layer=last_layer,
        )

    def restore(
        self,
        spec: ResolvedSpec,
        path: Path,
        *,
        class_count: int,
        examples: Examples | None = None,  # noqa: ARG002  it takes nothing from them
        last_layer: nn.Module | None = None,
    ) -> Classifier:
        """Return the trained net.

        Raises:
            WeightsUnfit: if the file is not of such a net.
        """
        return net.restore(spec, path, class_count=class_count, last_layer=last_layer)

    def trace_input(self, spec: ResolvedSpec, *, count: int = 1) -> Tensor:
        """Return black images float (B, C, H, W)."""
        return torch.zeros(count, of_images(spec).input.channels, *_sides(spec))

    def served(self, net: Learner, spec: ResolvedSpec, *, temperature: float = 1.0) -> Served:
        """Return the net with its normalisation: uint8 (N, H, W, C) in."""
        assert isinstance(net, Classifier), "image nets are classifiers"
        return image_served.served(
            net,
            mean=net.mean,
            std=net.std,
            size=_sides(spec)[0],
            activation=target_of(spec.task).activation,
            temperature=temperature,
        )

    def described(self, spec: ResolvedSpec) -> dict[str, Any]:
        """Return the backbone's kind, and the size and channels that images are brought to."""
        return {"backbone": of_images(spec).backbone.kind, "input": of_images(spec).input.model_dump(mode="json")}

    def work(self, spec: ResolvedSpec) -> float:
        """Return the pixels of an image."""
        height, width = _sides(spec)
        return float(height * width)

    def in_words(self, spec: ResolvedSpec) -> str:
        """Return the side of the images."""
        return f" at {of_images(spec).input.size} pixels"

    def averaged(
        self, spec: ResolvedSpec, answer: Callable[[Inputs], Outputs], examples: Examples, rows: Rows
    ) -> Iterator[Outputs]:
        """Yield what the file answers on average to changed copies of each image."""
        part = of_images(spec).evaluation.test_time_augmentation
        if part is None:
            return iter(())
        return test_time_augmentation.averaged(
            lambda images_BHWC: answer({INPUT: images_BHWC}),
            examples.inputs[INPUT],
            rows,
            part=part,
            seed=spec.seed,
        )

    def standalone(self, spec: ResolvedSpec) -> str | None:
        """Return the variant that takes images of any size."""
        return any_size.VARIANT if of_images(spec).export.any_size else None

    def write_standalone(
        self,
        path: Path,
        *,
        fixed: Path,
        spec: ResolvedSpec,
        examples: Examples,
        files: Callable[[Rows], Iterable[bytes]],
        settings: Settings,
    ) -> dict[str, Any]:
        """Put the resize in front of the file at `fixed`, and compare both on validation images.

        Raises:
            AnySizeImpossible: if the resize does not fit, or too many images get another answer.
        """
        return any_size.make(
            path, fixed=fixed, spec=spec, examples=examples, files=files, max_pixels=settings.image_max_pixels
        )

    def preview(
        self,
        document: Mapping[str, Any],
        manifest: Sequence[ManifestEntry],
        content: Path,
        *,
        auxiliary: Mapping[str, bytes],  # noqa: ARG002  images have none
        folder: Path,
        settings: Settings,
    ) -> Mapping[str, Path]:
        """Draw a contact sheet of images, changed as augmentation changes them.

        Raises:
            UndecodableImage: if a file of the dataset can't be read.
        """
        asked, target = Preview.model_validate(document), folder / "preview.png"
        preview.contact_sheet(asked, manifest, content, target=target, max_pixels=settings.image_max_pixels)
        return {"png": target}


def _sides(spec: ResolvedSpec) -> tuple[int, int]:
    size = of_images(spec).input.size
    assert size is not None, "the spec is resolved"
    return size, size


IMAGE: Task = ImageTask()
