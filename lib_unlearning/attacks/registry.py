"""The attacks by name: the paper's features, today's attacks, and what plug-ins bring."""

from __future__ import annotations

from collections.abc import Callable

from lib_unlearning.attack import ATTACKS, Attack, View, paper_attacks
from lib_unlearning.attacks.probes import ProbeMatched
from lib_unlearning.attacks.residual_gradient import ResidualGradient

# Today's attacks; to add one: a file in this folder, and one line here. Plug-ins add to `attack.ATTACKS`.
TODAY: dict[str, Callable[[str], Attack]] = {"residual_gradient": ResidualGradient, "probe_matched": ProbeMatched}


def attacks_on(shadow: View, attack_model: str, seed: int, today: bool) -> dict[str, Attack]:
    """Every attack that the view offers what it needs, features first; with `today`, also those beyond the paper's."""
    found = paper_attacks(shadow, attack_model)
    for name, make in [*(TODAY.items() if today else ()), *ATTACKS.items()]:
        attack = make(attack_model)
        if attack.needs <= shadow.offers and attack.applies(shadow, seed):
            found[name] = attack
    return found
