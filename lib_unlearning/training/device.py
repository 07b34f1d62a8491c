"""Where networks are trained: the device that was asked for, what is free on it, and when it is full."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence

import torch
from torch import nn

from lib_unlearning.errors import UserError
from lib_unlearning.parallel import usable_cores
from lib_unlearning.training.networks import Architecture

# Beyond this a stack gains nothing on a CPU (benchmarks/ensemble.py).
_CPU_STACK = 32
_GPU_STACK = 512
_SHARE = 0.5  # of the free memory, for a stack: the estimate is rough and others need some, too
_COPIES = 6  # of the weights: themselves, gradients, two moments, and what updates make on the way


def find_device(asked: str) -> str:
    """The torch device of "auto", "cpu", "mps" or "cuda:N"; raises `UserError` when it is not there."""
    cuda = torch.cuda.device_count()
    if asked == "auto":
        return "cuda:0" if cuda else "cpu"
    if asked.startswith("cuda") and int(asked.partition(":")[2] or 0) >= cuda:
        raise UserError(f"--device {asked} (or --cuda): this machine has {cuda} GPUs for torch; leave it out")
    if asked == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: not available on this machine; leave it out")
    return asked


def make_reproducible(device: str) -> None:
    """Choose deterministic kernels of whole float32 on a GPU; a CPU has no others, and for MPS torch promises nothing.

    Convolutions otherwise round to 10 bits (TF32), which moves posteriors as far as a deleted record does.
    """
    if device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False


def pays(architecture: Architecture, device: str) -> bool:
    """Whether many networks at once are faster: on a CPU, stacked convolutions are slower than single ones."""
    return architecture.linear or device != "cpu"


def suitable_stack(
    architecture: Architecture, shape: Sequence[int], num_classes: int, batch_size: int, device: str
) -> int:
    """How many networks to train together: as many as pay, and as half the free memory holds; at least one."""
    if not pays(architecture, device):
        return 1
    per_network = 4 * _numbers_per_network(architecture, shape, num_classes, batch_size)
    fitting = int(_SHARE * _free_bytes(device) / per_network)
    return max(1, min(fitting, _CPU_STACK if device == "cpu" else _GPU_STACK))


def _numbers_per_network(architecture: Architecture, shape: Sequence[int], num_classes: int, batch_size: int) -> int:
    """Floats that one network keeps while it trains: weights and their companions, activations and their gradients."""
    with torch.device("meta"):  # shapes only
        module = architecture.build(shape, num_classes).eval()
        batch = torch.zeros(batch_size, *shape)
    activations = [batch.numel()]
    for part in module.modules():
        if not list(part.children()):
            part.register_forward_hook(lambda _part, _given, output: activations.append(output.numel()))
    module(batch)
    return _COPIES * _count(module) + 2 * sum(activations)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _free_bytes(device: str) -> float:
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    import psutil

    return psutil.virtual_memory().available / usable_cores()  # each worker process trains a stack


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch has no class of its own for the host's."""
    full = ("allocate memory", "not enough memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in full)
    )


def release(device: str) -> None:
    """Give memory back after a failed allocation."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
