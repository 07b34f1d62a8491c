"""Serve models by HTTP on this machine and let `--exp audit` ask.

python docs/examples/audit_service.py [FOLDER [more flags of --exp audit]]
"""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from sklearn.datasets import load_breast_cancer
from sklearn.tree import DecisionTreeClassifier

DESCRIPTION = """\
data: people.csv
label_column: target
train: {{url: "{url}/train", body: {{rows: $rows, labels: $labels}}, model: $.id}}
delete: {{url: "{url}/delete/{{model}}", body: {{rows: $rows}}, model: $.id}}
predict: {{url: "{url}/predict/{{model}}", body: {{rows: $rows}}, answers: $.scores}}
sets: 6
requests: 10
set_size: 40
rate: 1000
"""


class Models(BaseHTTPRequestHandler):
    """Trains a tree, retrains it without the rows to delete, and answers with a score for each label."""

    trained: ClassVar[list[tuple[list[list[float]], list[int], DecisionTreeClassifier]]] = []
    lock = threading.Lock()
    protocol_version = "HTTP/1.1"  # one connection for all calls

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        action, *model = self.path.strip("/").split("/")
        if action == "train":
            answer: dict[str, Any] = {"id": self.train(body["rows"], body["labels"])}
        elif action == "delete":
            rows, labels, _ = self.trained[int(model[0])]
            kept = [index for index, row in enumerate(rows) if row not in body["rows"]]
            answer = {"id": self.train([rows[index] for index in kept], [labels[index] for index in kept])}
        else:
            answer = {"scores": self.trained[int(model[0])][2].predict_proba(body["rows"]).tolist()}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def train(self, rows: list[list[float]], labels: list[int]) -> int:
        tree = DecisionTreeClassifier(max_leaf_nodes=10, random_state=0).fit(rows, labels)
        with self.lock:
            self.trained.append((rows, labels, tree))
            return len(self.trained) - 1

    def log_message(self, format: str, *args: Any) -> None:  # one line a call would hide the verdict
        pass


folder = Path(sys.argv[1] if len(sys.argv) > 1 else "audit_service")
folder.mkdir(parents=True, exist_ok=True)
load_breast_cancer(as_frame=True).frame.to_csv(folder / "people.csv", index=False)
server = ThreadingHTTPServer(("127.0.0.1", 0), Models)  # any port that is free
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
(folder / "service.yaml").write_text(DESCRIPTION.format(url=url), encoding="utf-8")
main = Path(__file__).resolve().parents[2] / "main.py"
audit = [sys.executable, str(main), "--exp", "audit", "--service", str(folder / "service.yaml")]
sys.exit(subprocess.call([*audit, *sys.argv[2:]]))
