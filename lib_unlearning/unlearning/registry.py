"""The unlearning methods by name. To add one: a subclass of `UnlearningMethod`, and one line here or in a plug-in."""

from __future__ import annotations

from lib_unlearning.unlearning.amnesiac import Amnesiac
from lib_unlearning.unlearning.base import UnlearningMethod
from lib_unlearning.unlearning.controls import Noise, Nothing
from lib_unlearning.unlearning.dampening import SelectiveDampening
from lib_unlearning.unlearning.erasus import Erasus
from lib_unlearning.unlearning.fine_tuning import FineTuning
from lib_unlearning.unlearning.neg_grad import NegGrad, NegGradPlus
from lib_unlearning.unlearning.newton_removal import NewtonRemoval
from lib_unlearning.unlearning.on_modules import OnModules
from lib_unlearning.unlearning.relabelling import BadTeacher, RandomLabels, Saliency
from lib_unlearning.unlearning.scrub import Scrub
from lib_unlearning.unlearning.sharded import Retraining, Sisa
from lib_unlearning.unlearning.supreme import Supreme

UNLEARNING_METHODS: dict[str, type[UnlearningMethod]] = {
    "scratch": Retraining,
    "sisa": Sisa,
    "fine_tuning": FineTuning,
    "neg_grad": NegGrad,
    "neg_grad_plus": NegGradPlus,
    "random_labels": RandomLabels,
    "bad_teacher": BadTeacher,
    "scrub": Scrub,
    "ssd": SelectiveDampening,
    "salun": Saliency,
    "amnesiac": Amnesiac,
    "newton_removal": NewtonRemoval,
    "erasus": Erasus,
    "supreme": Supreme,
    "nothing": Nothing,
    "noise": Noise,
}

# Those that run without a package that this project does not install.
OURS = tuple(name for name, kind in UNLEARNING_METHODS.items() if not issubclass(kind, OnModules))
