"""A torch module with its own loop that forgets by gradient ascent.

PYTHONPATH=. python docs/examples/audit_gradient_ascent.py
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from lib_unlearning import DeletionAudit


class Network:
    """A small network with the three methods that an audit asks for."""

    def fit(self, X: np.ndarray, y: np.ndarray, seed: int) -> Network:
        torch.manual_seed(seed)
        self.module = torch.nn.Sequential(torch.nn.Linear(X.shape[1], 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
        return self._step(X, y, epochs=100, sign=1)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return torch.softmax(self.module(torch.as_tensor(X, dtype=torch.float32)), dim=1).numpy()

    def unlearn(self, X: np.ndarray, y: np.ndarray) -> Network:
        return self._step(X, y, epochs=5, sign=-1)

    def _step(self, X: np.ndarray, y: np.ndarray, epochs: int, sign: int) -> Network:
        inputs, labels = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)
        optimizer = torch.optim.SGD(self.module.parameters(), lr=0.05)
        for _ in range(epochs):
            optimizer.zero_grad()
            (sign * torch.nn.functional.cross_entropy(self.module(inputs), labels)).backward()
            optimizer.step()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        twin = Network()
        twin.__dict__.update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return twin


features, target = load_breast_cancer(return_X_y=True)
audit = DeletionAudit(Network(), unlearn="own", n_sets=4, n_requests=6, own_models=0, n_jobs=1, name="breast cancer")
print(audit.fit(StandardScaler().fit_transform(features), target).summary())
