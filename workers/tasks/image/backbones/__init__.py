"""The networks below the head: images (B, C, H, W) → features (B, F). `build` knows the builders imported here."""

from workers.tasks.image.backbones import own, timm_nets, torchvision_nets
from workers.tasks.image.backbones.backbone import Backbone, build

__all__ = ["Backbone", "build", "own", "timm_nets", "torchvision_nets"]
