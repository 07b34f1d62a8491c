"""Write the three files that `--exp audit` reads, from any two models, and audit them.

python docs/examples/audit_files.py [FOLDER [more flags of --exp audit]]
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.tree import DecisionTreeClassifier

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "audit_files")
folder.mkdir(parents=True, exist_ok=True)
X, y = load_breast_cancer(return_X_y=True)
rng = np.random.default_rng(0)
parts: dict[str, list[pd.DataFrame]] = {"before": [], "after": [], "cases": []}
for number in range(10):  # ten models, from each of which ten records are deleted
    shuffled = rng.permutation(len(y))
    training, deleted, strangers = shuffled[:150], shuffled[:10], shuffled[150:160]
    original = DecisionTreeClassifier(max_leaf_nodes=10, random_state=0).fit(X[training], y[training])
    for request, record in enumerate(deleted):
        kept = training[training != record]
        unlearned = DecisionTreeClassifier(max_leaf_nodes=10, random_state=0).fit(X[kept], y[kept])
        asked = np.array([record, strangers[request]])
        parts["before"].append(pd.DataFrame(original.predict_proba(X[asked])))
        parts["after"].append(pd.DataFrame(unlearned.predict_proba(X[asked])))
        cases = {"record": asked, "label": y[asked], "deleted": [1, 0], "set": number, "request": request}
        parts["cases"].append(pd.DataFrame(cases))
flags = []
for name, tables in parts.items():
    pd.concat(tables).to_csv(folder / f"{name}.csv", index=False)
    flags += [f"--{name}", str(folder / f"{name}.csv")]
main = Path(__file__).resolve().parents[2] / "main.py"
sys.exit(subprocess.call([sys.executable, str(main), "--exp", "audit", *flags, *sys.argv[2:]]))
