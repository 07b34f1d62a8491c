"""Audit a regression: residuals take the posteriors' place: `python docs/examples/audit_regression.py`."""

from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

from lib_unlearning import DeletionAudit

audit = DeletionAudit(LinearRegression(), n_sets=5, n_requests=10, name="diabetes").fit(*load_diabetes(return_X_y=True))
print(audit.summary())
