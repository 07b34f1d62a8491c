"""docs/EXTENDING.md does what it says: each block is a plug-in outside the checkout, each command is run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from lib_unlearning.plugins import LOADED, load_plugins
from tests.test_commands import PROJECT, result_folder, result_rows, run

TEXT = (PROJECT / "docs" / "EXTENDING.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```python\n# plug-in: (\w+\.py)\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = [shlex.split(line)[2:] for line in re.findall(r"^python main\.py .*$", TEXT, re.MULTILINE)]
SIZES = {"set_num": 2, "set_size": 200, "unlearning_size": 3}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with the plug-ins of the page."""
    for name, code in BLOCKS.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    return tmp_path


def with_sizes(words: list[str], folder: Path) -> list[str]:
    """A command with its plug-in found in a folder, at a small size."""
    given = {word.lstrip("-").split("=")[0] for word in words}
    sizes = [
        f"--{side}_{name}={value}"
        for side in ("shadow", "target")
        for name, value in SIZES.items()
        if f"{side}_{name}" not in given
    ]
    return [*(str(folder / word) if word in BLOCKS else word for word in words), *sizes, "--quiet"]


def test_the_page_has_a_plug_in_of_every_kind() -> None:
    used = {word for words in COMMANDS for word in words if word.endswith(".py")}
    assert used == set(BLOCKS)
    for registry in ("TARGET_MODELS", "FEATURES", "ATTACKS", "UNLEARNING_METHODS", "DEFENSES", "DATASETS"):
        assert any(f"{registry}[" in code for code in BLOCKS.values())


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[1:2] + words[-2:]))
def test_the_commands_of_the_page(outside: Path, words: list[str]) -> None:
    output = run(outside / "td", *with_sizes(words, outside), small=False)
    rows = result_rows(output)
    for name in ("largest_change", "threshold"):
        assert (name in rows) == (f"{name}.py" in words)
        assert name not in rows or name in output
    (row, *_) = rows.values()
    assert row["plugins"].startswith(str(outside / words[1]))
    if "--boosting_rounds" in words:
        assert row["boosting_rounds"] == "5"


def test_an_edited_plug_in_never_serves_old_models(outside: Path) -> None:
    words = with_sizes(COMMANDS[0], outside)
    first = run(outside / "td", *words, small=False)
    assert result_folder(run(outside / "td", *words, small=False)) == result_folder(first)
    path = outside / "boosting.py"
    path.write_text(path.read_text().replace("max_iter=options", "learning_rate=0.5, max_iter=options"))
    second = run(outside / "td", *words, small=False)
    assert result_folder(second) != result_folder(first)
    assert result_rows(second) != result_rows(first)
    assert len(list((outside / "td" / "target_models").iterdir())) == 2


def test_a_helper_beside_the_plug_in_counts_as_its_source(outside: Path) -> None:
    (outside / "rounds_of_mine.py").write_text("RATE = 0.1\n")
    path = outside / "boosting.py"
    path.write_text(
        "from rounds_of_mine import RATE\n" + path.read_text().replace("max_iter", "learning_rate=RATE, max_iter")
    )
    words = with_sizes(COMMANDS[0], outside)
    first = run(outside / "td", *words, small=False)
    (outside / "rounds_of_mine.py").write_text("RATE = 0.7\n")
    assert result_folder(run(outside / "td", *words, small=False)) != result_folder(first)


def test_a_helper_that_is_imported_at_work_counts_as_well(outside: Path) -> None:
    (outside / "rounds_of_mine.py").write_text("RATE = 0.1\n")
    path, text = outside / "boosting.py", BLOCKS["boosting.py"]
    lazy = text.replace("    return HistGradient", "    from rounds_of_mine import RATE\n\n    return HistGradient")
    path.write_text(lazy.replace("max_iter", "learning_rate=RATE, max_iter"))
    assert "RATE" in path.read_text()
    words = with_sizes(COMMANDS[0], outside)
    first = run(outside / "td", *words, small=False)
    (outside / "rounds_of_mine.py").write_text("RATE = 0.7\n")
    second = run(outside / "td", *words, small=False)
    assert result_folder(second) != result_folder(first)
    assert result_rows(second) != result_rows(first)


def test_two_plug_ins_of_one_name(outside: Path) -> None:
    """Each has its own models, also when these are read back."""
    flags = []
    for number, leaves in ((1, 2), (2, 40)):
        folder = outside / f"p{number}"
        folder.mkdir()
        (folder / "mine.py").write_text(
            "from sklearn.tree import DecisionTreeClassifier\n"
            "from lib_unlearning.family import estimator_family\nfrom models import TARGET_MODELS\n"
            "class Mine(DecisionTreeClassifier):\n    pass\n"
            f"def make(labels, seed, options):\n    return Mine(max_leaf_nodes={leaves}, random_state=seed)\n"
            f"TARGET_MODELS['P{number}'] = estimator_family('P{number}', make)\n"
        )
        flags += ["--plugin", str(folder / "mine.py")]
    both = ["--original_model", "P1", "--shadow_original_model", "P2"]
    run(outside / "td", "--exp", "model_train", *flags, *both)
    first = result_rows(run(outside / "td", "--exp", "mem_inf", *flags, *both))["label_logit"]
    other = result_rows(run(outside / "td", "--exp", "mem_inf", "--train_missing", *flags, "--original_model", "P2"))
    more = float(other["label_logit"]["original_training_accuracy"]) - float(first["original_training_accuracy"])
    assert more > 0.01


def test_a_helper_that_another_plug_ins_stands_before_is_refused(tmp_path: Path) -> None:
    flags = []
    for number in (1, 2):
        folder = tmp_path / f"p{number}"
        folder.mkdir()
        (folder / "shared_name.py").write_text(f"VALUE = {number}\n")
        (folder / f"plug{number}.py").write_text("def f():\n    import shared_name\n    return shared_name.VALUE\n")
        flags += ["--plugin", str(folder / f"plug{number}.py")]
    told = run(tmp_path / "td", "--exp", "model_train", *flags, code=2)
    assert "its shared_name.py is hidden by" in told


def test_a_module_of_a_package_counts_with_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "my_package"
    package.mkdir()
    for name, code in (
        ("__init__", ""),
        ("mine", "def f():\n    from my_package.rate import RATE\n"),
        ("rate", "RATE = 1"),
    ):
        (package / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    (first,) = load_plugins(["my_package.mine"]).values()
    LOADED.clear()
    (package / "rate.py").write_text("RATE = 2")
    (second,) = load_plugins(["my_package.mine"]).values()
    LOADED.clear()
    assert first != second


def test_a_package_that_a_plug_in_lacks_is_named_with_what_installs_it(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    told = run(tmp_path / "td", "--exp", "model_train", "--plugin", str(tmp_path / "needy.py"), code=2)
    assert told.endswith("run: python -m pip install -r requirements.txt")


def test_models_of_unlike_types_in_one_ensemble(tmp_path: Path) -> None:
    """Answers are right whichever comes first, and today's attacks do without what one of them lacks."""
    (tmp_path / "mixed.py").write_text(
        "from dataclasses import dataclass\n"
        "import numpy as np\n"
        "from lib_unlearning.unlearning.base import Ensemble\n"
        "from lib_unlearning.unlearning.registry import UNLEARNING_METHODS\n"
        "Scratch = UNLEARNING_METHODS['scratch']\n"
        "@dataclass\n"
        "class Flat:\n"
        "    classes: int\n"
        "    facts = {}\n"
        "    def predict_proba(self, features):\n"
        "        return np.full((len(features), self.classes), 1 / self.classes)\n"
        "class Mixed(Scratch):\n"
        "    def work(self, records, deletions, seed):\n"
        "        original, unlearned = yield from super().work(records, deletions, seed)\n"
        "        def mixed(whole):\n"
        "            flat = Flat(2)\n"
        "            return Ensemble([flat, *whole.constituents], [whole.shards[0], *whole.shards])\n"
        "        return mixed(original), [mixed(whole) for whole in unlearned]\n"
        "UNLEARNING_METHODS['mixed'] = Mixed\n"
    )
    flags = ["--plugin", str(tmp_path / "mixed.py"), "--exp", "mem_inf", "--train_missing", "--keep_models", "none"]
    network = ["--unlearning_method", "mixed", "--original_model", "LRTorch", "--num_epochs", "3", "--attacks", "all"]
    rows = result_rows(run(tmp_path / "td", *flags[:-2], *network))
    assert {"probe_matched", "combined"} <= set(rows)
    assert "probe_gradient" not in rows


def test_reports_show_what_came_from_outside_under_its_own_name(outside: Path) -> None:
    for words in (COMMANDS[0], COMMANDS[2], COMMANDS[3]):
        run(outside / "td", *with_sizes(words, outside), small=False)
    run(outside / "td", "--exp", "report", small=False)
    folder = outside / "td" / "attack_data" / "report"
    page, table = (folder / "report.html").read_text(), (folder / "tables" / "scratch.md").read_text()
    for name in ("GB", "threshold", "largest_change"):
        assert name in page
        assert name in table
    assert "largest_change" in (folder / "figures" / "scratch.svg").read_text()


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:\n", "SyntaxError"),
        ("raise SystemError('no\\nlines')", "SystemError: no"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("from models import TARGET_MODELS\nTARGET_MODELS['MINE'] = 3", "TARGET_MODELS['MINE'] must be a Family"),
        (
            "from lib_unlearning.construct_feature import FEATURES\nFEATURES['mine'] = None",
            "FEATURES['mine'] must be a function of cases, found None",
        ),
        (
            "from lib_unlearning.attack import ATTACKS\nclass A: ...\nATTACKS['mine'] = A",
            "ATTACKS['mine'] must be a subclass of Attack",
        ),
        (
            "from lib_unlearning.unlearning.registry import UNLEARNING_METHODS\n"
            "from lib_unlearning.unlearning.base import UnlearningMethod\n"
            "class M(UnlearningMethod):\n    def work(self, records, deletions, seed):\n        return 1\n"
            "UNLEARNING_METHODS['mine'] = M",
            "UNLEARNING_METHODS['mine'] must be a subclass of UnlearningMethod",
        ),
    ],
)
def test_a_broken_plug_in_is_one_line(tmp_path: Path, code: str, complaint: str) -> None:
    (tmp_path / "broken.py").write_text(code)
    found = run(tmp_path / "td", "--exp", "model_train", "--plugin", str(tmp_path / "broken.py"), code=2)
    assert complaint in found


def test_a_plug_in_that_fails_at_work_is_named_with_its_line(tmp_path: Path) -> None:
    """Its feature raises in this process, its model in a worker."""
    (tmp_path / "late.py").write_text(
        "from lib_unlearning.construct_feature import FEATURES\n"
        "def mine(cases):\n    return cases.nosuch\n"
        "FEATURES['mine'] = mine\n"
    )
    plugin = ["--plugin", str(tmp_path / "late.py")]
    told = run(tmp_path / "td", "--exp", "mem_inf", "--train_missing", *plugin, code=2)
    assert "late.py, line 3: AttributeError: 'PosteriorSet' object has no attribute 'nosuch'" in told
    (tmp_path / "model.py").write_text(
        "from lib_unlearning.family import estimator_family\nfrom models import TARGET_MODELS\n"
        "def make(labels, seed, options):\n    raise ValueError('no way')\n"
        "TARGET_MODELS['MINE'] = estimator_family('MINE', make)\n"
    )
    plugin = ["--plugin", str(tmp_path / "model.py"), "--original_model", "MINE", "--num_process", "2"]
    told = run(tmp_path / "td", "--exp", "model_train", *plugin, code=2)
    assert "model.py, line 4: ValueError: no way" in told


def test_an_edited_reader_prepares_again(tmp_path: Path) -> None:
    plugin, digests = tmp_path / "rings.py", []
    for code in (BLOCKS["rings.py"], BLOCKS["rings.py"].replace("scale=0.4", "scale=0.1")):
        plugin.write_text(code)
        run(tmp_path / "td", "--exp", "mem_inf", "--train_missing", "--plugin", str(plugin), "--dataset_name", "rings")
        (description,) = (tmp_path / "td" / "processed_dataset").glob("rings*/dataset.json")
        digests.append(json.loads(description.read_text())["digest"])
    assert digests[0] != digests[1]
