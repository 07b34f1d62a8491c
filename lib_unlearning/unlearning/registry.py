"""The unlearning methods by name. To add one: a subclass of `UnlearningMethod`, and one line here or in a plug-in."""

from __future__ import annotations

from lib_unlearning.unlearning.base import UnlearningMethod
from lib_unlearning.unlearning.sharded import Retraining, Sisa

UNLEARNING_METHODS: dict[str, type[UnlearningMethod]] = {"scratch": Retraining, "sisa": Sisa}
