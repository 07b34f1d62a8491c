"""Neural target models: architectures in torch, sized from the data set (paper section 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torchvision
from torch import nn
from torch.nn import functional

_HIDDEN = (256, 128, 64, 32)
_DROPOUT_UNITS = 128


class SmallConvolutional(nn.Module):
    """Two 3x3 convolutions, pooling, a layer of 128 units with dropout.

    Dropout takes its mask as an argument: a model trained in a stack then sees the very masks it sees alone.
    """

    def __init__(self, shape: Sequence[int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.first = nn.Conv2d(channels, 32, 3)
        self.second = nn.Conv2d(32, 64, 3)
        self.hidden = nn.Linear(64 * ((height - 4) // 2) * ((width - 4) // 2), _DROPOUT_UNITS)
        self.output = nn.Linear(_DROPOUT_UNITS, num_classes)

    def forward(self, images: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Logits [b, c] of images [b, ch, h, w]; mask [b, 128] multiplies the hidden units."""
        maps = functional.max_pool2d(functional.relu(self.second(functional.relu(self.first(images)))), 2)
        units = functional.relu(self.hidden(maps.flatten(1)))  # [b, 128]
        found: torch.Tensor = self.output(units if mask is None else units * mask)
        return found


def _logistic_regression(shape: Sequence[int], num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(shape[0], num_classes))


def _squashed_regression(shape: Sequence[int], num_classes: int) -> nn.Module:
    """The released code's: a sigmoid before the cross-entropy, which bounds how sure it can become."""
    return nn.Sequential(nn.Linear(shape[0], num_classes), nn.Sigmoid())


def _multilayer_perceptron(shape: Sequence[int], num_classes: int) -> nn.Module:
    sizes, layers = [shape[0], *_HIDDEN], []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], num_classes))


def _resnet50(shape: Sequence[int], num_classes: int) -> nn.Module:
    network = torchvision.models.resnet50(weights=None, num_classes=num_classes)
    network.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)  # small pictures: no early shrinking
    network.maxpool = nn.Identity()
    found: nn.Module = network
    return found


def _densenet(shape: Sequence[int], num_classes: int) -> nn.Module:
    network = torchvision.models.densenet121(weights=None, num_classes=num_classes)
    network.features.conv0 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    network.features.pool0 = nn.Identity()
    found: nn.Module = network
    return found


ROWS_AT_ONCE = 32  # images that a network is asked about at once: more no longer fit the caches of a CPU


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """Images or kernels [n, ch, h, w] in the order of memory that networks compute fastest; all else as it is."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


@dataclass(frozen=True)
class Architecture:
    """How a network is built and trained.

    Attributes:
        build: (shape of a record, classes) -> module with fresh weights.
        for_images: whether records are [ch, h, w] instead of [d].
        stackable: whether many can be trained as one; batch norm forbids it.
        learning_rate: Adam's default.
        linear: whether it is made of linear layers and ReLU only, which stack as batched matrix products.
        dropout_units: width of the dropout mask, 0 for none.
    """

    build: Callable[[Sequence[int], int], nn.Module]
    for_images: bool
    stackable: bool
    learning_rate: float
    linear: bool = False
    dropout_units: int = 0


# To add a network: a builder and one line here, and a line in models.py that names it.
ARCHITECTURES: dict[str, Architecture] = {
    "LRTorch": Architecture(_logistic_regression, False, True, 0.01, linear=True),
    "LRTorch_peer": Architecture(_squashed_regression, False, True, 0.01),
    "MLPTorch": Architecture(_multilayer_perceptron, False, True, 0.001, linear=True),
    "scnn": Architecture(SmallConvolutional, True, True, 0.001, dropout_units=_DROPOUT_UNITS),
    "resnet50": Architecture(_resnet50, True, False, 0.001),
    "densenet": Architecture(_densenet, True, False, 0.001),
}


PRIVATE = "-private"


def _without_batch_norm(build: Callable[[Sequence[int], int], nn.Module]) -> Callable[[Sequence[int], int], nn.Module]:
    """A builder whose networks DP-SGD can train: batch norm mixes records, group norm takes its place."""

    def built(shape: Sequence[int], num_classes: int) -> nn.Module:
        from opacus.validators import ModuleValidator

        module: nn.Module = ModuleValidator.fix(build(shape, num_classes))
        for part in module.modules():
            if isinstance(part, nn.ReLU):
                part.inplace = False  # per-record gradients need the values that it would overwrite
            if isinstance(part, torchvision.models.resnet.Bottleneck):
                part.forward = partial(_bottleneck, part)
        return module

    return built


def _bottleneck(block: Any, maps: torch.Tensor) -> torch.Tensor:
    """torchvision's bottleneck block, with its sum made anew instead of in place."""
    shortcut = maps if block.downsample is None else block.downsample(maps)
    maps = block.relu(block.bn1(block.conv1(maps)))
    maps = block.relu(block.bn2(block.conv2(maps)))
    summed: torch.Tensor = block.relu(block.bn3(block.conv3(maps)) + shortcut)
    return summed


for _name in ("resnet50", "densenet"):
    ARCHITECTURES[_name + PRIVATE] = replace(
        ARCHITECTURES[_name], build=_without_batch_norm(ARCHITECTURES[_name].build)
    )


def fresh_weights(
    architecture: Architecture, shape: Sequence[int], num_classes: int, seed: int
) -> dict[str, torch.Tensor]:
    """Initial parameters and buffers that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = architecture.build(shape, num_classes)
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
