"""Methods of the package erasus (PyPI), run on networks trained here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib_unlearning.options import number, option, whole
from lib_unlearning.unlearning.on_modules import OnModules, in_batches

if TYPE_CHECKING:  # torch takes long to import
    from torch import nn
    from torch.utils.data import TensorDataset

# Of its strategies, those that work on a classifier with a set to keep and one to forget.
STRATEGIES = (
    "gradient_ascent",
    "negative_gradient",
    "fisher_forgetting",
    "saliency_unlearning",
    "scrub",
    "ssd",
    "amnesiac",
    "certified_removal",
    "knowledge_distillation",
)


@dataclass(frozen=True)
class ErasusOptions:
    """Of erasus; what is not named has its own default."""

    erasus_strategy: str = option("gradient_ascent", "strategy of the package erasus", choices=STRATEGIES)
    erasus_epochs: int = option(5, "epochs of it", kind=whole(1), metavar="N")
    erasus_lr: float = option(0.0, "learning rate of it, 0 for its own default", kind=number(at_least=0), metavar="X")


class Erasus(OnModules):
    """`pip install erasus`."""

    Options = ErasusOptions
    package = "erasus"
    libraries = ("torch", "erasus")

    def forget(self, module: nn.Module, kept: TensorDataset, gone: TensorDataset) -> nn.Module:
        """By the strategy that was asked for."""
        import erasus.strategies  # noqa: F401  fills the registry
        from erasus.core.registry import strategy_registry

        chosen = self.options
        rate = {"lr": chosen.erasus_lr} if chosen.erasus_lr else {}
        strategy = strategy_registry.get(chosen.erasus_strategy)(device="cpu", **rate)
        found: nn.Module = strategy.unlearn(module, in_batches(gone), in_batches(kept), epochs=chosen.erasus_epochs)[0]
        return found
