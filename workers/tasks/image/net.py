"""Learning from images: what is learned, as one net of a backbone and a head, and how raw images become its input."""

# B batch, C channel, H height, W width, K class

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models_store.spec.part import Part
from models_store.spec.train import ResolvedSpec
from models_store.tasks.image.backbones.network import HALF
from models_store.tasks.image.codec import GREY
from models_store.tasks.image.spec import ResolvedImageSpec
from workers.tasks.image import augmentations, backbones, kernels, weights
from workers.tasks.image.augmentations.changes import Mixing
from workers.tasks.image.examples import INPUT
from workers.training import heads, regularizers, stored_weights
from workers.training.learner import Learner, Raw, Stages


class Classifier(Learner):
    """A learner of images: takes float (B, C, H, W), already normalised, and gives logits (B, K)."""

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Sequence[Part] = (),
        stages: Stages = (),
        size: int | None = None,
    ) -> None:
        super().__init__(backbone, head, stages=stages)
        kernels.avoid_wrong_ones(backbone)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.augmentation = tuple(augmentation)
        self.size = size
        """the side of its input in pixels; None: any"""

    @property
    def draws(self) -> bool:
        """Whether what the net is fed differs with a generator: by random changes, or by mixing."""
        return bool(self.augmentation)

    @property
    def mixes(self) -> bool:
        """Whether any part blends images with each other."""
        return any(isinstance(augmentations.build(part), Mixing) for part in self.augmentation)

    def mix(self, inputs: Tensor, targets_BK: Tensor, *, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return prepared images and soft targets, blended by the parts that do."""
        return augmentations.mix(inputs, targets_BK, self.augmentation, generator=generator)

    def plain(self) -> "Classifier":
        """Return the same net, weights and all, without augmentation."""
        twin = copy.copy(self)
        twin.augmentation = ()
        return twin

    def translate(self, inputs: Tensor, *, of: Learner) -> Tensor:
        """Return another classifier's prepared images (B, C, H, W) in this one's normalisation and size."""
        assert isinstance(of, Classifier), "only images are translated to images"
        if (self.mean, self.std) != (of.mean, of.std):
            mean_1C11, std_1C11, other_mean_1C11, other_std_1C11 = (
                torch.tensor(values, device=inputs.device).view(1, -1, 1, 1)
                for values in (self.mean, self.std, of.mean, of.std)
            )
            inputs = (inputs * other_std_1C11 + other_mean_1C11 - mean_1C11) / std_1C11
        if self.size in {None, inputs.shape[-1]}:
            return inputs
        return functional.interpolate(inputs, size=self.size, mode="bilinear", antialias=True, align_corners=False)

    def prepare(self, raw: Raw, generator: Generator | None) -> Tensor:
        """Return raw images uint8 (B, H, W, C) as normalised float (B, C, H, W) in channels_last."""
        images_BHWC = raw[INPUT]
        images_BCHW = images_BHWC.permute(0, 3, 1, 2).float()  # the permuted view of NHWC is channels_last
        mean_1C11 = torch.tensor(self.mean, device=images_BHWC.device).view(1, -1, 1, 1)
        std_1C11 = torch.tensor(self.std, device=images_BHWC.device).view(1, -1, 1, 1)
        if generator is None or not self.augmentation:
            return images_BCHW.sub_(255 * mean_1C11).div_(255 * std_1C11)
        images_BCHW = augmentations.augment(images_BCHW.div_(255), self.augmentation, generator=generator)
        return images_BCHW.sub_(mean_1C11).div_(std_1C11).contiguous(memory_format=torch.channels_last)


def build(
    spec: ResolvedSpec,
    *,
    class_count: int,
    weights_dir: Path,
    initial_weights: Path | None = None,
    last_layer: nn.Module | None = None,
) -> Classifier:
    """Return the net that a resolved spec describes, on the CPU; its random weights come from the spec's seed.

    `class_count` is the number of its outputs; `last_layer`, when the targets have one, ends its head.
    `initial_weights` is the file of what `backbone.weights` names, when that is a model of ours or a user's file.

    Raises:
        WeightsUnavailable: if the backbone's published weights can't be had.
        WeightsUnfit: if `initial_weights`, or a file in `weights_dir`, does not fit the backbone.
    """
    assert isinstance(spec, ResolvedImageSpec), "the task is one of images"
    assert spec.input.size is not None, "the spec is resolved before training"
    is_own = spec.backbone.weights not in {None, "imagenet"}
    assert is_own == (initial_weights is not None), "the supervisor hands over what the spec names"
    channels = spec.input.channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        backbone = backbones.build(
            spec.backbone,
            size=spec.input.size,
            channels=channels,
            weights_dir=weights_dir,
            drop_path=regularizers.drop_path(spec.regularizers),
        )
        if initial_weights is not None:
            stored_weights.start_from(
                backbone.net,
                initial_weights,
                classifier=backbone.classifier,
                adapt=weights.adapt,
                shown_name=f"backbone.weights {spec.backbone.weights}",
            )
        head = heads.build(
            spec.head,
            backbone.feature_count,
            output_count=class_count,
            noise=regularizers.noise(spec.regularizers),
            last_layer=last_layer,
        )
    classifier = Classifier(
        backbone.net,
        head,
        mean=_per_channel(spec.backbone.mean, channels),
        std=_per_channel(spec.backbone.std, channels),
        augmentation=spec.augmentation,
        stages=backbone.stages,
        size=spec.input.size,
    )
    classifier.freeze(spec.freeze)
    return classifier


def restore(spec: ResolvedSpec, path: Path, *, class_count: int, last_layer: nn.Module | None = None) -> Classifier:
    """Return the trained net of a spec, with the weights that `learner.save` wrote to `path`.

    Raises:
        WeightsUnfit: if the file is not of such a net.
    """
    net = build(
        spec.from_random_weights().with_frozen("none"),
        class_count=class_count,
        weights_dir=path.parent,
        last_layer=last_layer,
    )
    stored_weights.fill(net, path, shown_name=f"{spec.name}'s weights")
    return net


def _per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return one value per channel; for grey images the mean of the three, for alpha what makes it -1 to 1."""
    if channels == GREY:
        return (sum(values) / len(values),)
    return (*values, *(HALF[0] for _ in range(channels - len(values))))
