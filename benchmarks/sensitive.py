"""A net made hard to round: the same function, its channels spread over many sizes.

A ReLU lets a positive factor through, so a channel may be made s times as large where it comes from and its weights
s times as small where it goes to, and the net answers as before (Nagel et al. 2019, arXiv:1906.04721, who take such
spreads away). One scale per tensor then has to hold weights of many sizes, and the small ones are rounded to nothing:
what depthwise nets do to 8-bit numbers by themselves.
"""

# B batch, C channel, H height, W width, K class

import copy
from itertools import pairwise

import torch
from torch import nn

from workers.tasks.image.net import Classifier

NO_CHAIN = "the net is no chain of convolutions, ReLUs, poolings and linear layers: its channels can't be spread"
TOLERANCE = 1e-3  # of the largest logit: factors that are no powers of two round


def spread_channels(net: Classifier, *, octaves: float, seed: int = 0) -> Classifier:
    """Return a copy of a small CNN that answers alike, with channels up to that many powers of two larger or smaller.

    The net is a chain of convolutions (each with a batch norm or without), ReLUs, poolings and linear layers, such as
    our `small_cnn`; the outputs of its last layer stay as they are.

    Raises:
        ValueError: if the copy answers differently, for the net is no such chain.
    """
    plain, spread = (copy.deepcopy(net).cpu().eval() for _ in range(2))
    generator = torch.Generator().manual_seed(seed)
    layers = [module for module in spread.modules() if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d)]
    with torch.no_grad():
        for layer, following in pairwise(layers):
            if isinstance(following, nn.BatchNorm2d):
                continue  # it would take a factor before it away
            exponents_C = torch.rand(len(layer.weight), generator=generator) * 2 - 1
            factors_C = 2 ** (octaves * exponents_C)
            layer.weight.mul_(factors_C.view(-1, *[1] * (layer.weight.ndim - 1)))
            if layer.bias is not None:
                layer.bias.mul_(factors_C)
            places, rest = divmod(following.weight.shape[1], len(factors_C))  # of a channel among a layer's inputs
            if places == 0 or rest:
                raise ValueError(NO_CHAIN)
            following.weight.div_(factors_C.repeat_interleave(places).view(1, -1, *[1] * (following.weight.ndim - 2)))
        images_BCHW = torch.randn(4, len(net.mean), net.size or 32, net.size or 32, generator=generator)
        logits_BK, others_BK = plain(images_BCHW), spread(images_BCHW)
    if not torch.allclose(logits_BK, others_BK, atol=TOLERANCE * float(logits_BK.abs().max()), rtol=0):
        raise ValueError(NO_CHAIN)
    return spread
