"""Methods of the package supreme-unlearning (PyPI), run on networks trained here."""

from __future__ import annotations

import contextlib
import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib_unlearning.options import number, option
from lib_unlearning.unlearning.on_modules import OnModules, in_batches

if TYPE_CHECKING:  # torch takes long to import
    from torch import nn
    from torch.utils.data import TensorDataset

# Of its methods, those that start no processes of their own to load data.
METHODS = ("finetune", "neg_grad", "ssd", "scrub")


@dataclass(frozen=True)
class SupremeOptions:
    """Of supreme-unlearning; what is not named has its own default. SSD's two have none there: those of its paper."""

    supreme_method: str = option("neg_grad", "method of the package supreme-unlearning", choices=METHODS)
    supreme_alpha: float = option(10.0, "selection weighting of its ssd", kind=number(above=0), metavar="X")
    supreme_lambda: float = option(1.0, "dampening constant of its ssd", kind=number(above=0), metavar="X")


class Supreme(OnModules):
    """`pip install supreme-unlearning`, whose own pins are older than the torch that this project uses."""

    Options = SupremeOptions
    package = "supreme"
    libraries = ("torch", "supreme-unlearning")

    def forget(self, module: nn.Module, kept: TensorDataset, gone: TensorDataset) -> nn.Module:
        """By the method that was asked for, on one CPU; what it prints is dropped."""
        from lightning.fabric import Fabric
        from torch.utils.data import ConcatDataset, TensorDataset

        name = self.options.supreme_method
        method = getattr(importlib.import_module(f"supreme.methods.unlearning_methods.{name}"), name)
        # Its items are (input, class, class): a fine and a coarse label.
        retained, forgotten = (TensorDataset(*part.tensors, part.tensors[1]) for part in (kept, gone))
        loaders = {
            "retain_train_dataloader": retained,
            "retain_test_dataloader": forgotten,  # only for accuracies that it prints
            "forget_train_dataloader": forgotten,
            "forget_test_dataloader": forgotten,
            "full_train_dataloader": ConcatDataset([retained, forgotten]),
        }
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            found = method(
                fabric=Fabric(accelerator="cpu", devices=1),
                num_gpus=1,
                wandb_logging_flag=False,
                model=module,
                dampening_constant=self.options.supreme_lambda,
                selection_weighting=self.options.supreme_alpha,
                **{name: in_batches(part) for name, part in loaders.items()},
            )
        plain: nn.Module = found.module if hasattr(found, "module") else found
        return plain
