"""The attacks by name: the paper's features, today's attacks, and what plug-ins bring."""

from __future__ import annotations

from collections.abc import Callable

from lib_unlearning.attack import ATTACKS, Attack, FeatureAttack, LearnedAttack, View, paper_attacks
from lib_unlearning.attacks.combined import Combined
from lib_unlearning.attacks.label_only import LabelOnly
from lib_unlearning.attacks.probes import ProbeGradient, ProbeMatched, ProbeNewton
from lib_unlearning.attacks.residual_gradient import ResidualAlone, ResidualGradient
from lib_unlearning.attacks.worlds import LikelihoodRatio, Rmia

# Today's attacks; to add one: a file in this folder, and one line here. Plug-ins add to `attack.ATTACKS`.
TODAY: dict[str, Callable[[str], Attack]] = {
    "residual_gradient": ResidualGradient,
    "residual_alone": ResidualAlone,
    "probe_newton": ProbeNewton,
    "probe_matched": ProbeMatched,
    "probe_gradient": ProbeGradient,
    "likelihood_ratio": lambda attack_model: LikelihoodRatio("likelihood_ratio"),
    "likelihood_offline": lambda attack_model: LikelihoodRatio("likelihood_offline", offline=True),
    "ruli_privacy": lambda attack_model: LikelihoodRatio("ruli_privacy", columns=(0,)),
    "rmia_original": lambda attack_model: Rmia("rmia_original", ("original",)),
    "rmia_unlearned": lambda attack_model: Rmia("rmia_unlearned", ("unlearned",)),
    "rmia_difference": lambda attack_model: Rmia("rmia_difference", ("original", "unlearned")),
    "label_only": LabelOnly,
    "combined": Combined,
}


# Those that need models which the adversary trained.
WITH_OWN_MODELS = (
    "probe_matched",
    "probe_gradient",
    *(name for name in TODAY if name.startswith(("likeli", "ruli", "rmia"))),
)


def attacks_on(shadow: View, attack_model: str, seed: int, today: bool) -> dict[str, Attack]:
    """Every attack that the view offers what it needs, features first; with `today`, also those beyond the paper's."""
    found = paper_attacks(shadow, attack_model)
    for name, make in [*(TODAY.items() if today else ()), *ATTACKS.items()]:
        attack = make(attack_model)
        if attack.needs <= shadow.offers and attack.applies(shadow, seed):
            found[name] = attack
    return found


def strongest_learned(attack_model: str, today: bool) -> LearnedAttack:
    """What is tried where one attack that learns shall do: the combined one, or the strongest of the features."""
    return Combined(attack_model) if today else FeatureAttack("label_logit", attack_model)
