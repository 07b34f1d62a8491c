"""Which records an attack is asked about (`samples_to_evaluate`; paper sections 4.2, 5.4 and 5.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lib_unlearning.record_split import SampleSet, draw_without_replacement
from lib_unlearning.seeds import spawn


@dataclass(frozen=True)
class EvaluationCases:
    """The cases of one sample set; case i is asked of the original model and of unlearned model `request[i]`.

    Attributes:
        record: [m] queried record.
        member: [m] 1 for a positive, 0 for a negative.
        request: [m] number of the deletion request.
    """

    record: np.ndarray
    member: np.ndarray
    request: np.ndarray


# (sample set, number of a request, generator) -> positive records [k]
Positives = Callable[[SampleSet, int, np.random.Generator], np.ndarray]


def whole_request(sample_set: SampleSet, request: int, generator: np.random.Generator) -> np.ndarray:
    """Every record of the deletion request."""
    found: np.ndarray = sample_set.requests[request]
    return found


def one_of_request(sample_set: SampleSet, request: int, generator: np.random.Generator) -> np.ndarray:
    """One record of the request: the others went in intermediate versions that the adversary never saw."""
    return generator.choice(sample_set.requests[request], 1)


def one_remaining(sample_set: SampleSet, request: int, generator: np.random.Generator) -> np.ndarray:
    """One record that both models were trained on."""
    return generator.choice(sample_set.records[~np.isin(sample_set.records, sample_set.requests[request])], 1)


@dataclass(frozen=True)
class Setting:
    """One value of `samples_to_evaluate`: its positives, whether new records replace the deleted ones, in words."""

    positives: Positives
    online_learning: bool
    question: str


SAMPLES_TO_EVALUATE: dict[str, Setting] = {
    "in_out": Setting(whole_request, False, "deletion"),
    "in_out_multi_version": Setting(one_of_request, False, "deletion across unseen intermediate versions"),
    "in_in": Setting(one_remaining, False, "the presence of a record that was never deleted"),
    "online_learning": Setting(whole_request, True, "deletion beside newly added records"),
}


def evaluation_cases(
    sample_set: SampleSet, negative: np.ndarray, positives: Positives, seed: int, side: str, index: int, placebo: bool
) -> EvaluationCases:
    """Positives and as many negatives for every request of sample set `index`.

    Args:
        negative: [n] the side's negatives, which no model saw; drawn without replacement while they last.
        positives: rule that picks a request's positive records.
        placebo: query negatives in the positives' place, so that there is nothing to find.
    """
    chosen = [
        positives(sample_set, request, spawn(seed, side, index, "positives", request))
        for request in range(len(sample_set.requests))
    ]
    sizes = [len(records) for records in chosen]
    total = sum(sizes)
    strangers = draw_without_replacement(
        negative, 2 * total if placebo else total, lambda number: spawn(seed, side, index, "negatives", number)
    )
    positive_records = strangers[total:] if placebo else np.concatenate(chosen)
    request = np.repeat(np.arange(len(sizes)), sizes)
    # Positives and negatives of one request stand together; the order carries no information an attack could use.
    order = np.argsort(np.concatenate([request, request]), kind="stable")
    return EvaluationCases(
        record=np.concatenate([positive_records, strangers[:total]])[order],
        member=np.repeat([1, 0], total)[order],
        request=np.concatenate([request, request])[order],
    )
