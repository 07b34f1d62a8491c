"""A scikit-learn model, retrained without the deleted records.

PYTHONPATH=. python docs/examples/audit_scikit_learn.py
"""

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lib_unlearning import DeletionAudit

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
audit = DeletionAudit(
    make_pipeline(StandardScaler(), LogisticRegression()), n_sets=5, n_requests=10, name="breast cancer"
)
print(audit.plan(X, y))
audit.fit(X, y)
print(audit.summary())
print(audit.scores_.sort_values("score", ascending=False).head())
audit.to_html("audit_scikit_learn.html")
