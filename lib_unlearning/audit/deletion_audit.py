"""`DeletionAudit`: audit anybody's model and way to forget, in the manner of scikit-learn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils.validation import check_is_fitted

from lib_unlearning.attack import ATTACK_MODELS, Budget
from lib_unlearning.audit.bench import Bench
from lib_unlearning.audit.dossier import Dossier
from lib_unlearning.audit.evidence import Options
from lib_unlearning.audit.examine import Examination, examine
from lib_unlearning.audit.questions import STILL_THERE
from lib_unlearning.audit.records import Records
from lib_unlearning.audit.subject import SubjectTrainer, Unlearn, described, forgetting
from lib_unlearning.errors import UserError
from lib_unlearning.own_models import models_of
from lib_unlearning.parallel import usable_cores
from lib_unlearning.record_split import SIDES, SideSettings, mean_overlap, suitable_size
from lib_unlearning.statistics.intervals import OVERLAP, Estimate, effective_sets
from lib_unlearning.statistics.planner import MOST_SETS, sets_for
from lib_unlearning.statistics.verdict import TPR_MARGIN
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.wording import duration, plural, with_interval

if TYPE_CHECKING:
    import pandas as pd

_FITS = 3  # that an estimate of a model's cost is made from


class DeletionLeakError(AssertionError):
    """What `DeletionAudit.check` raises; a test suite reports it as a failure."""


@dataclass(frozen=True)
class Plan:
    """What an audit needs.

    Attributes:
        sets: sample sets a side. requests: of each. own_models: of the adversary's, of both sides. models: that are
            trained, these included. seconds: of training, on the processes at hand.
    """

    sets: int
    requests: int
    own_models: int
    models: int
    seconds: float
    margin: float

    def __str__(self) -> str:
        if self.sets >= MOST_SETS:
            return f"No number of sample sets up to {MOST_SETS:,} a side settles a margin of {self.margin:g}."
        return (
            f"{self.sets} sample sets a side of {plural(self.requests, 'deletion')} settle one question's margin of "
            f"AUC {self.margin:g} (power 80 %, if nothing shows): {self.models:,} models, {self.own_models:,} of them "
            f"the adversary's own, about {duration(self.seconds)}. All questions at once, and TPR at 1 % FPR where it "
            "is judged, need more."
        )


class DeletionAudit(BaseEstimator):  # type: ignore[misc]
    """Does a deletion show, and is the record still there?

    Half of the records play the adversary's, half the provider's. On each side, `n_sets` models are trained, each makes
    `n_requests` deletions, and the attacks that learned on the adversary's side are judged on the provider's.

    Args:
        model: a classifier or regressor with scikit-learn's interface (pipelines included), or an own class with
            `fit(X, y, seed)` and `predict_proba(X)` or `predict(X)`.
        unlearn: "retrain"; "own" for the model's method `unlearn(X, y)`, or `unlearn(model, keep, forget, seed)`;
            "nothing"; or a function (model, (X, y) to keep, (X, y) to forget, seed) -> model.
        n_sets, n_requests, request_size: sample sets a side, deletions of each, records of each.
        set_size: training records of a model; "auto" for 2,000, fewer where records are few.
        compare_with: None for a verdict against the margin, "retrain" for one relative to retraining. None means
            "retrain" where `unlearn` is anything else.
        margin: difference of AUCs that counts as none. tpr_margin: the same of the TPR at 1 % FPR.
        attacks: "all", or "paper" for its features alone. attack_model: see `attack.ATTACK_MODELS`.
        own_models: rounds of the adversary's own models, 0 for none.
        retrain_randomness: "matched" keeps a model's seed when it is retrained, "fresh" draws it anew.
        random_state: seed of everything.
        n_jobs: processes, None for all cores. Models that cannot be forked safely (GPU) want 1.
        name: of the records, for reports.

    Attributes:
        auc_, interval_: of the attack that the adversary would choose, with its 95 % interval.
        verdict_: "leaks", "below" the margin or "equivalent" to retraining, "undecided", or "no verdict" where a
            control failed.
        still_there_: AUC of finding deleted records in the unlearned model alone.
        scores_: a data frame, a row a case: id, deleted, set, request, score, exposed at a false discovery rate of 5 %.
        examination_: everything (see `examine.Examination`).
        accuracy_: of original and unlearned models on kept and held-out records (regression: variance explained).
        seconds_: that it took.
    """

    def __init__(
        self,
        model: Any,
        *,
        unlearn: str | Unlearn = "retrain",
        n_sets: int = 10,
        n_requests: int = 20,
        request_size: int = 1,
        set_size: int | str = "auto",
        compare_with: str | None = None,
        margin: float = 0.05,
        tpr_margin: float = TPR_MARGIN,
        attacks: str = "all",
        attack_model: str = "RF",
        own_models: int = 1,
        retrain_randomness: str = "matched",
        random_state: int = 0,
        n_jobs: int | None = None,
        name: str = "own data",
    ) -> None:
        self.model = model
        self.unlearn = unlearn
        self.n_sets = n_sets
        self.n_requests = n_requests
        self.request_size = request_size
        self.set_size = set_size
        self.compare_with = compare_with
        self.margin = margin
        self.tpr_margin = tpr_margin
        self.attacks = attacks
        self.attack_model = attack_model
        self.own_models = own_models
        self.retrain_randomness = retrain_randomness
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.name = name

    def fit(self, X: Any, y: Any, ids: Any = None) -> DeletionAudit:  # noqa: N803
        """Run the audit.

        Args:
            X: [N, ...] array, data frame or sparse matrix. y: [N] classes, or numbers for a regression.
            ids: [N] what reports call the records; a data frame's index by default.

        Raises:
            UserError: something cannot be audited; says what.
        """
        start = time.perf_counter()
        bench = self._bench(X, y, ids)
        answers = bench.answers()
        budget = Budget(own_models=self.own_models)
        views = bench.views(answers, budget)
        relative = self._compared()
        retrained = bench.retrained_views(answers, budget) if relative else None
        overlap = mean_overlap(bench.split["target"].sample_sets)
        options = Options(
            self.margin, self.attack_model, self.attacks == "all", self.random_state, overlap, self.tpr_margin
        )
        evidence, examination = examine(views, retrained, options)
        accuracy = np.mean([part.accuracy for part in answers["target"]], axis=0)
        cases = views["target"].cases
        seconds = time.perf_counter() - start
        dossier = Dossier(
            title=f"{self.name}: {type(self.model).__name__}, forgets by {_named(self.unlearn)}",
            settings={**self._plain_params(), "set_size": bench.sizes.set_size, "overlap": overlap},
            digests={"records": bench.records.digest},
            evidence=evidence,
            options=options,
            examination=examination,
            ids=bench.records.ids[cases.record],
            notes=self._notes(bench, overlap, accuracy, seconds, bench.differs_from_itself(answers)),
        )
        # All at once: whoever interrupts an audit finds the results of the last one, or none.
        self.overlap_, self.accuracy_, self.seconds_, self.ids_ = overlap, accuracy, seconds, bench.records.ids
        self.cases_, self.examination_, self.dossier_ = cases, examination, dossier
        return self

    def _plain_params(self) -> dict[str, Any]:
        """Parameters that shape results, as JSON has them; the model without what may be data."""
        found = {name: value for name, value in self.get_params(deep=False).items() if name != "n_jobs"}
        return {**found, "model": described(self.model), "unlearn": _named(self.unlearn)}

    def _notes(self, bench: Bench, overlap: float, accuracy: np.ndarray, seconds: float, differs: float) -> list[str]:
        original, unlearned = accuracy
        kind = "variance explained" if bench.records.classes is None else "accuracy"
        notes = []
        if overlap > OVERLAP:
            worth = effective_sets(self.n_sets, overlap)
            notes.append(
                f"Two sets share {overlap:.0%} of their records: they are worth {worth:.1f} separate ones, so "
                f"intervals are {'wider' if worth >= 2 else 'not given'}. Lower set_size, or bring more records."
            )
        if differs:
            notes.append(
                f"The model, or what unlearning makes of it, is another one when it is made again from the same seed "
                f"(answers differ by up to {differs:.2g}): more moves than the deleted record does, and a second audit "
                "may find other figures."
            )
        return [
            *notes,
            f"{len(bench.records):,} records; {plural(self.n_sets, 'model')} a side on {bench.sizes.set_size:,} "
            f"records each, {plural(self.n_requests, 'deletion')} of {plural(self.request_size, 'record')} from "
            f"each model, {seconds:.0f} s.",
            f"{kind} on training / held-out records: original {original[0]:.3f} / {original[1]:.3f}, "
            f"unlearned {unlearned[0]:.3f} / {unlearned[1]:.3f}.",
        ]

    def _compared(self) -> bool:
        if self.compare_with is not None and not _is_one_of(self.compare_with, ("retrain",)):
            raise UserError(f'compare_with={self.compare_with!r}: None or "retrain"')
        return self.compare_with == "retrain" or self.unlearn != "retrain"

    def _bench(self, features: Any, target: Any, ids: Any = None, sets: int | None = None) -> Bench:
        self._check_parameters()
        regression = not hasattr(self.model, "predict_proba")
        if isinstance(self.model, type):
            raise UserError(f"{self.model.__name__} is a class; give one of its objects")
        if not hasattr(self.model, "fit") or (regression and not hasattr(self.model, "predict")):
            raise UserError(f"{type(self.model).__name__} has no fit with predict_proba or predict")
        if regression and _is_classifier(self.model):
            raise UserError(
                f"{type(self.model).__name__} is a classifier without predict_proba; audit it within a "
                "CalibratedClassifierCV, or give it one"
            )
        records = Records.of(features, target, ids, regression)
        size = suitable_size(len(records)) if self.set_size == "auto" else int(self.set_size)
        if self.set_size == "auto" and size < self.n_requests * self.request_size:
            asked = f"{plural(self.n_requests, 'deletion')} of {plural(self.request_size, 'record')}"
            raise UserError(f"{len(records)} records give sets of {size}: too few for {asked} each")
        if self.request_size >= size:
            raise UserError(f"request_size={self.request_size}: a set holds {size} records and must keep one")
        sizes = SideSettings(sets or self.n_sets, size, self.n_requests, self.request_size)
        return Bench.open(
            records,
            SubjectTrainer(self.model, records),
            forgetting(self.unlearn, self.model, records),
            sizes,
            seed=self.random_state,
            fresh=self.retrain_randomness == "fresh",
            processes=usable_cores() if self.n_jobs in (None, -1) else int(self.n_jobs),
            quiet=True,
        )

    def _check_parameters(self) -> None:
        """Raise `UserError` for a parameter that is none of its values."""
        if not isinstance(self.unlearn, str) and not callable(self.unlearn):
            raise UserError(f"unlearn={type(self.unlearn).__name__}: retrain, own, nothing, or a function")
        known = {
            "attacks": ("all", "paper"),
            "retrain_randomness": ("matched", "fresh"),
            "attack_model": tuple(ATTACK_MODELS),
        }
        for name, values in known.items():
            if not _is_one_of(getattr(self, name), values):
                raise UserError(f"{name}={getattr(self, name)!r}: one of {', '.join(values)}")
        least = {"n_sets": 2, "n_requests": 1, "request_size": 1, "own_models": 0, "random_state": 0}
        if self.set_size != "auto":
            least["set_size"] = 2
        for name, lowest in least.items():
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < lowest:
                raise UserError(f"{name}={value!r}: a whole number from {lowest} on")
        self._compared()
        jobs = self.n_jobs
        if jobs not in (None, -1) and (not isinstance(jobs, int | np.integer) or isinstance(jobs, bool) or jobs < 1):
            raise UserError(f"n_jobs={jobs!r}: a whole number from 1 on, or -1 or None for all cores")
        if self.n_requests * self.request_size < 2:  # controls put strangers in the deleted's place
            raise UserError("n_requests=1: an attack is judged by two deleted records a set at the least")
        if not _is_number(self.margin) or not 0 < self.margin < 0.5:
            raise UserError(f"margin={self.margin!r}: a difference of AUCs above 0 and below 0.5")
        if not _is_number(self.tpr_margin) or not 0 < self.tpr_margin <= 0.9:
            raise UserError(f"tpr_margin={self.tpr_margin!r}: a difference of rates above 0, at most 0.9")

    def plan(self, X: Any, y: Any) -> Plan:  # noqa: N803
        """How many sample sets settle the margin, and what that costs here: one model is trained a few times."""
        bench = self._bench(X, y, sets=2)
        shared = mean_overlap(bench.split["target"].sample_sets)
        sets = sets_for(self.margin, self.n_requests * self.request_size, self._compared(), shared)
        records = bench.split["target"].sample_sets[0].records
        start = time.perf_counter()
        bench.trainer.fit([TrainingTask(records, seed) for seed in range(_FITS)])
        each = (time.perf_counter() - start) / _FITS
        adversaries = 2 if self._compared() else 1  # one of them faces retraining
        cases = 2 * self.n_requests * self.request_size * sets
        own = adversaries * len(SIDES) * models_of(cases, self.n_requests, self.own_models)
        models = len(SIDES) * sets * (1 + self.n_requests) * (1 + (not bench.method.exact)) + own
        return Plan(sets, self.n_requests, own, models, models * each / bench.processes, self.margin)

    # ------------------------------------------------------------ results

    @property
    def auc_(self) -> float:
        """AUC of the attack that the adversary would choose."""
        return self._found().auc.value

    @property
    def interval_(self) -> tuple[float | None, float | None]:
        """Its 95 % interval."""
        return self._found().auc.low, self._found().auc.high

    @property
    def verdict_(self) -> str:
        """See the class."""
        return self._found().verdict

    @property
    def still_there_(self) -> Estimate:
        """AUC of finding deleted records in the unlearned model alone."""
        return next(question.measured for question in self._found().questions if question.name == STILL_THERE)

    @property
    def scores_(self) -> pd.DataFrame:
        """A row a target case."""
        import pandas as pd

        found = self._found()
        return pd.DataFrame(
            {
                "id": self.ids_[self.cases_.record],
                "deleted": self.cases_.member == 1,
                "set": self.cases_.set,
                "request": self.cases_.request,
                "score": found.scores,
                "exposed": found.exposed,
            }
        )

    def _found(self) -> Examination:
        check_is_fitted(self, "examination_")
        found: Examination = self.examination_
        return found

    def check(self, max_auc: float | None = None) -> DeletionAudit:
        """Raise where the deletion leaks, a control failed, or the AUC may be above `max_auc`; for test suites."""
        if max_auc is not None and not (_is_number(max_auc) and 0 <= max_auc <= 1):
            raise UserError(f"max_auc={max_auc!r}: an AUC, from 0 to 1")
        found = self._found()
        if found.verdict in ("leaks", "no verdict"):
            raise DeletionLeakError(self.summary())
        why = None if max_auc is None else _why_not_below(found.auc, max_auc)
        if why is not None:
            raise DeletionLeakError(f"AUC {with_interval(found.auc)}: {why} {max_auc:g}")
        return self

    def summary(self) -> str:
        """The verdict and its grounds in a few lines."""
        self._found()
        return "\n".join(self.dossier_.lines())

    def to_html(self, path: str | Path, show_ids: bool = False) -> Path:
        """Write the audit's page; records are named only where `show_ids` says so."""
        from lib_unlearning.audit.page import write_page

        self._found()
        return write_page(self.dossier_, Path(path), show_ids)

    def to_pack(self, path: str | Path) -> Path:
        """Write the audit pack: settings, versions, digests, answers, scores, report; no training record's features."""
        from lib_unlearning.audit.pack import write_pack

        self._found()
        return write_pack(self.dossier_, Path(path))


def _named(unlearn: str | Unlearn) -> str:
    return unlearn if isinstance(unlearn, str) else getattr(unlearn, "__name__", type(unlearn).__name__)


def _is_classifier(model: Any) -> bool:
    """What a model says of itself, where it says something."""
    return isinstance(model, BaseEstimator) and bool(is_classifier(model))


def _is_one_of(value: Any, known: Sequence[str]) -> bool:
    return isinstance(value, str) and value in known


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _why_not_below(auc: Estimate, most: float) -> str | None:
    """Why an AUC is not shown to be at most so large, also by an attack that is turned round; None where it is."""
    if auc.low is None or auc.high is None:
        return "there is no interval that would show it to be at most"
    if auc.high > most:
        return "the most allowed is"
    return "either way round the most allowed is" if auc.high < 0.5 and auc.low < 1 - most else None
