"""Models of anybody in files: ONNX, joblib and pickle, torch modules; how they are opened, and how they are asked."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.errors import UserError, error_text

_PICKLES = (".joblib", ".pkl", ".pickle")
_TORCH = (".pt", ".pth")
LOGITS, LABELS = "logits", "labels"  # of settings.ANSWER_KINDS

# Features [k, d] as a data frame -> probabilities or logits [k, c], predictions or labels [k] or [k, 1].
Predict = Callable[[Any], np.ndarray]


@dataclass(frozen=True)
class ModelFile:
    """A model that answers.

    Attributes:
        predict: see `Predict`.
        classes: [c] labels that the columns of its answers stand for; None where it does not say.
        regression: whether it predicts numbers; None where only its answers tell.
        names: of the columns that it was trained on; None where it does not say.
    """

    predict: Predict
    classes: np.ndarray | None
    regression: bool | None = False
    names: tuple[str, ...] | None = None

    def in_order(self, classes: np.ndarray | None, where: str) -> ModelFile:
        """The model with its answers in the order of another one's classes; raises `UserError` where these differ."""
        if classes is None or self.classes is None or np.array_equal(classes, self.classes):
            return self
        own = [str(value) for value in self.classes.tolist()]
        wanted = [str(value) for value in classes.tolist()]
        if sorted(own) != sorted(wanted):
            raise UserError(f"{where}: its classes are {', '.join(own)}, the other model's {', '.join(wanted)}")
        order = [own.index(value) for value in wanted]

        def predict(frame: Any) -> np.ndarray:
            found = self.predict(frame)
            return found[:, order] if found.ndim == 2 and found.shape[1] == len(order) else found

        return dataclasses.replace(self, predict=predict, classes=classes)


def load_model(path: Path, flag: str, kind: str, trust: bool) -> ModelFile:
    """A model in a file, to be asked for answers of a kind (see `settings.ANSWER_KINDS`).

    Raises:
        UserError: it cannot be opened, has no such answers, or would run what a stranger wrote.
    """
    where = f"{flag} {path}"
    if not path.is_file():
        raise UserError(f"{where}: there is no such file")
    if path.suffix == ".onnx":
        return _onnx(path, where, kind)
    if path.suffix not in (*_PICKLES, *_TORCH):
        raise UserError(f"{where}: not one of .onnx, {', '.join((*_PICKLES, *_TORCH))}")
    if not trust:
        raise UserError(
            f"{where}: opening a pickle runs whatever its maker put there; add --trust true if you trust him, or "
            "save the model as ONNX"
        )
    model = _opened(path, where)
    torch = sys.modules.get("torch")  # whoever unpickled a module of torch has imported it
    if path.suffix in _TORCH or (torch is not None and isinstance(model, torch.nn.Module)):
        return _module(model, where)
    return _estimator(model, where, kind)


def _opened(path: Path, where: str) -> Any:
    try:
        if path.suffix in _TORCH:
            import torch

            return torch.load(path, map_location="cpu", weights_only=False)
        import joblib

        return joblib.load(path)
    except ModuleNotFoundError as error:
        raise UserError(f"{where}: it was made with {error.name}, which is not installed here") from error
    except Exception as error:  # unpickling may do anything
        raise UserError(f"{where} cannot be opened ({error_text(error)})") from error


def _estimator(model: Any, where: str, kind: str) -> ModelFile:
    """A model with scikit-learn's interface."""
    classes = getattr(model, "classes_", None)
    ways = {LOGITS: "decision_function", LABELS: "predict"}
    regression = kind not in ways and not hasattr(model, "predict_proba")
    way = "predict" if regression else ways.get(kind, "predict_proba")
    if not hasattr(model, way) or (regression and classes is not None):
        others = [f"--answers {other}" for other, method in ways.items() if kind not in ways and hasattr(model, method)]
        hint = f"; it has what {' and '.join(others)} ask for" if others and classes is not None else ""
        lacking = "predict_proba" if regression else way
        raise UserError(f"{where}: a {type(model).__name__} has no {lacking}{hint}")
    ask = getattr(model, way)
    names = getattr(model, "feature_names_in_", None)
    return ModelFile(
        lambda frame: ask(frame.to_numpy() if names is None else _as_named(frame, names)),
        None if classes is None else np.asarray(classes),
        regression,
        None if names is None else tuple(names),
    )


def _as_named(frame: Any, names: Sequence[str]) -> Any:
    """The columns that a model was trained on, in their order, where the table has all of them."""
    lacking = [name for name in names if name not in frame]
    if lacking:
        raise UserError(f"the table has no column {lacking[0]}, which the model was trained on")
    return frame[list(names)]


def _module(model: Any, where: str) -> ModelFile:
    """A torch module whose one input is a matrix of features."""
    import torch

    if not isinstance(model, torch.nn.Module):
        raise UserError(f"{where}: it holds a {type(model).__name__} and no torch module; save the whole module")
    model.eval()
    dtype = next((tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()), torch.float32)

    def predict(frame: Any) -> np.ndarray:
        with torch.no_grad():
            found = model(torch.as_tensor(frame.to_numpy(dtype=np.float64)).to(dtype))
        return np.asarray(found.double().numpy())

    return ModelFile(predict, None, None)


def _onnx(path: Path, where: str, kind: str) -> ModelFile:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise UserError(f"{where}: needs the package onnxruntime; run: pip install onnxruntime") from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has errors of its own
        raise UserError(f"{where} cannot be opened ({error_text(error)})") from error
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise UserError(f"{where}: it has {len(inputs)} inputs; one matrix of features is expected")
    dtype = np.float64 if "double" in inputs[0].type else np.float32
    place = 0 if kind == LABELS else -1  # a classifier's outputs are its labels and its probabilities

    def predict(frame: Any) -> np.ndarray:
        found = session.run(None, {inputs[0].name: frame.to_numpy(dtype=dtype)})[place]
        rows = [list(row.values()) for row in found] if isinstance(found, list) and place else found
        return np.asarray(rows)

    return ModelFile(predict, None, None)


def asked(model: ModelFile, frame: Any, where: str, kind: str) -> np.ndarray:
    """Answers [N, c] to a table as numbers, or labels [N, 1] as they are."""
    try:
        found = np.asarray(model.predict(frame))
        found = found if kind == LABELS else found.astype(np.float64)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    except Exception as error:  # it is anybody's
        raise UserError(f"{where} cannot answer the table ({type(error).__name__}: {error_text(error)})") from error
    if found.ndim not in (1, 2) or len(found) != len(frame) or (kind == LABELS and found.size != len(frame)):
        raise UserError(f"{where}: answers of shape {found.shape} to {len(frame):,} records")
    if kind != LABELS and not np.isfinite(found).all():
        raise UserError(f"{where}: its answers are not all finite numbers")
    return found.reshape(len(frame), -1)
