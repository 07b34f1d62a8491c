"""Whole commands in real processes: what the README promises, at small sizes."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from exp import Sweep
from lib_unlearning.cache.files import HOST
from lib_unlearning.cache.layout import Layout
from lib_unlearning.construct_feature import FEATURES, OF_NUMBERS
from lib_unlearning.errors import UserError
from lib_unlearning.study_models import check_space
from parameter_parser import build_parser, parse_settings
from tests.processes import PROJECT, command

SMALL = [
    f"--{side}_{name}={value}"
    for side in ("shadow", "target")
    for name, value in (("set_num", 3), ("set_size", 400), ("unlearning_size", 5), ("num_shard", 4))
]


def run(folder: Path, *flags: str, code: int = 0, small: bool = True) -> str:
    """Run main.py and return what it printed; on failure, what it complained of."""
    words = [*flags, *(SMALL if small else []), "--temp_data", str(folder)]
    done = command("main.py", words, folder.parent)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code:
        complaint = [line for line in done.stderr.splitlines() if not line.startswith(("INFO", "WARNING"))]
        assert len(complaint) == 1, done.stderr
        assert complaint[0].startswith("main.py: error: ")
        return complaint[0]
    return done.stdout


def result_rows(output: str) -> dict[str, dict[str, str]]:
    """feature -> columns of the results.csv that a run named."""
    with open(result_folder(output) / "results.csv", newline="", encoding="utf-8") as handle:
        return {row["feature"]: row for row in csv.DictReader(handle)}


def result_folder(output: str) -> Path:
    return Path(re.findall(r"Results: (\S+)", output)[-1])


README = (PROJECT / "README.md").read_text(encoding="utf-8")


def readme_commands(program: str = "main") -> list[list[str]]:
    """Words after `python PROGRAM.py` of every such line of the README."""
    lines = re.findall(rf"^python {program}\.py .*$", README, re.MULTILINE)
    return [line.split("#")[0].split()[2:] for line in lines]


# 500 trees a forest and torch's import a network: fewer and smaller runs keep the suite short.
FOREST = [flag.replace("=3", "=2").replace("=400", "=200").replace("=5", "=2") for flag in SMALL]
NETWORK = [*(flag.replace("=400", "=100") for flag in SMALL), "--batch_size=16"]


def small_form(words: list[str], sizes: list[str]) -> list[str]:
    """A command of the README with sizes that it does not name itself, and few epochs."""
    words = [re.sub(r"^30$", "2", word) for word in words]
    given = {word.lstrip("-") for word in words}
    return [*words, *(flag for flag in sizes if flag.lstrip("-").split("=")[0] not in given), "--quiet"]


@pytest.mark.parametrize(
    ("model", "sizes", "count"),
    [("DT", SMALL, None), ("MLP", SMALL, 1), ("RF", FOREST, 1), ("LRTorch", [*NETWORK, "--num_epochs=2"], 2)],
)
def test_the_commands_of_the_readme_in_order(tmp_path: Path, model: str, sizes: list[str], count: int | None) -> None:
    """LR and the sizes of tests/golden.py: tests/test_golden.py."""
    own = ("--original_model", "--plugin", "--dataset_name", "sweep", "audit")  # audits: tests/audit
    commands = [words for words in readme_commands() if not set(own) & set(words)]
    assert len(commands) >= 18
    for words in commands[:count]:
        output = run(tmp_path / "td", *small_form(words, sizes), "--original_model", model, small=False)
        if "mem_inf" in words and "--dry_run" not in words:
            assert set(result_rows(output)) == set(FEATURES) - set(OF_NUMBERS)


def test_the_readmes_commands_for_networks(tmp_path: Path) -> None:
    commands = [words for words in readme_commands() if "MLPTorch" in words or "LRTorch" in words]
    assert len(commands) == 3
    for words in commands:
        run(tmp_path / "td", *small_form(words, NETWORK), small=False)


def test_the_readmes_own_data_and_own_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    age, lucky = rng.integers(18, 90, 3000), rng.integers(0, 2, 3000)
    lines = [f"{a},{n},{'high' if a > 50 and n else 'low'}" for a, n in zip(age, lucky, strict=True)]
    (tmp_path / "people.csv").write_text("\n".join(["age,lucky,risk", *lines]))
    plugin = re.search(
        r"```python\n# plug-in: boosting\.py\n(.*?)```", (PROJECT / "docs/EXTENDING.md").read_text(), re.DOTALL
    )
    assert plugin is not None
    (tmp_path / "boosting.py").write_text(plugin[1])
    (prepare,) = readme_commands("data_prepare")
    command = [sys.executable, str(PROJECT / "data_prepare.py"), *prepare, "--temp_data", str(tmp_path / "td")]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^age +number +72 +0$", told, re.MULTILINE)
    commands = [words for words in readme_commands() if {"people", "boosting.py"} & set(words)]
    assert len(commands) == 2
    for words in commands:
        assert "label_logit" in run(tmp_path / "td", *small_form(words, FOREST), small=False)


@pytest.mark.parametrize(
    "script", ["quickstart.sh", "sisa.sh --small --dry_run", "reproduce_paper.sh --small --dry_run"]
)
def test_the_readmes_scripts(tmp_path: Path, script: str) -> None:
    """In a copy of the project whose environment is there."""
    copy = tmp_path / "project"
    ignored = shutil.ignore_patterns(".git", ".venv", "[a-z]*_models", "attack_data", "processed_dataset", ".*_cache")
    shutil.copytree(PROJECT, copy, ignore=ignored)
    (copy / ".venv").mkdir()
    (copy / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    wanted = {"requirements-core.txt": "requirements-core.txt", "requirements.txt": "requirements.txt"}
    for name in wanted:
        text = (copy / name).read_text() + (copy / "requirements-core.txt").read_text()
        (copy / ".venv" / f"installed-{name}").write_text(text)
    sizes = SMALL if script == "quickstart.sh" else []
    command = ["bash", *f"scripts/{script}".split(), *sizes]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert ("Results: " in done.stdout) == (script == "quickstart.sh")
    assert ("models to train" in " ".join(done.stdout.split())) == ("--dry_run" in script)


def test_the_readmes_sweep(tmp_path: Path) -> None:
    """At its small size."""
    (words,) = [words for words in readme_commands() if "sweep" in words]
    told = run(tmp_path / "td", *words, "--small", "--seeds", "0", "--quiet", small=False)
    assert "sisa: 6 settings x 1 seed, " in told
    table = (tmp_path / "td" / "attack_data" / "report" / "tables" / "sisa.md").read_text()
    assert table.count("| 20 |") == 2


def test_a_sweep_takes_its_attacks_and_names_what_it_does_not_take(tmp_path: Path) -> None:
    flags = ["--exp=sweep", "--comparison=sisa", "--small", f"--temp_data={tmp_path}", "--seed=1"]
    for attacks in ("paper", "all"):
        plan = Sweep(parse_settings([*flags, f"--attacks={attacks}"])).plan("sisa")
        assert {(settings.attacks, settings.seeds) for settings in plan} == {(attacks, (1,))}
    others = ["--dry_run", "--original_model=LR", "--num_epochs=3", "--shadow_set_num=4", "--temperature=2"]
    told = command("main.py", [*flags, *others], tmp_path).stderr
    for name in ("original_model", "num_epochs", "shadow_set_num", "temperature"):
        assert f"--{name} has no effect on --exp sweep" in told


def test_flags_from_a_file_and_into_one(tmp_path: Path) -> None:
    saved = tmp_path / "saved.yaml"
    flags = ["--exp", "model_train", "--seed", "3", "--retrain", "--save_config", str(saved)]
    run(tmp_path / "td", *flags)
    text = saved.read_text()
    assert "seed: 3" in text
    assert "retrain: true" in text
    again = tmp_path / "again.yaml"
    run(tmp_path / "td", "--config", str(saved), "--seed", "4", "--save_config", str(again), small=False)
    assert again.read_text() == text.replace("seed: 3", "seed: 4")
    saved.write_text("sed: 3")
    complaint = run(tmp_path / "td", "--config", str(saved), "--exp", "model_train", code=2)
    assert "unrecognized arguments: --sed=3; did you mean --seed?" in complaint
    saved.write_text("- a\n- b")
    for text, complaint in (
        ("- 1", "not a list of"),
        ("target: {set_num: 3}", "target holds further names"),
        ("seed: 1\nname: [", "line 2: "),
        ("origina_model: DT", f"--config {saved}: unrecognized arguments: --origina_model=DT; did you mean --original"),
        ("version: true", "version cannot stand in such a file"),
        ("--seed: 3", "name flags without dashes"),
    ):
        saved.write_text(text)
        assert complaint in run(tmp_path / "td", "--config", str(saved), "--exp", "model_train", code=2)
    twice = ["--config", str(saved), "--config", str(saved)]
    assert "is given twice" in run(tmp_path / "td", *twice, "--exp", "model_train", code=2)


def test_status_and_clean(tmp_path: Path) -> None:
    run(tmp_path / "td", "--exp", "mem_inf", "--train_missing")
    listed = run(tmp_path / "td", "--exp", "status")
    for kind in ("shadow models", "target models", "prepared data", "answers", "fitted attacks", "results", "splits"):
        assert f"{kind}: adult" in listed
    assert "nobody answers here; add --yes" in run(tmp_path / "td", "--exp", "clean", code=2)
    assert run(tmp_path / "td", "--exp", "clean", "--dry_run").endswith("nothing was deleted\n")
    assert run(tmp_path / "td", "--exp", "status") == listed
    assert "1 entries deleted" in run(tmp_path / "td", "--exp", "clean", "--name", "prepared data", "--yes")
    assert not list((tmp_path / "td").rglob("features.npy"))
    run(tmp_path / "td", "--exp", "clean", "--yes")
    assert "0 entries" in run(tmp_path / "td", "--exp", "status")


def test_a_dry_run_trains_nothing(tmp_path: Path) -> None:
    output = run(tmp_path / "td", "--exp", "mem_inf", "--dry_run", "--unlearning_method", "sisa")
    assert "36 models to train (54 trainings)" in output
    today = run(tmp_path / "td", "--exp", "mem_inf", "--dry_run", "--attacks", "all")
    own = 2 * (2 * 3 * 5 + 2 * 3)  # on either side each case's record is deleted, five from one original
    assert f"(36 trainings) and at most {own} own models of the adversary's" in " ".join(today.split())
    assert not (tmp_path / "td" / "target_models").exists()
    assert not (tmp_path / "td" / "attack_data").exists()


def test_flags_of_the_papers_code_are_accepted(tmp_path: Path) -> None:
    command = [sys.executable, "main.py", "--exp", "model_train", *SMALL, "--temp_data", str(tmp_path / "td")]
    more = ["--num_threads", "8", "--n_accumulation_steps", "2", "--original_label", "default", "--is_sample", "t"]
    done = subprocess.run([*command, *more], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "--num_threads: a flag of the paper's released code; it does nothing here" in done.stderr


def test_an_attack_without_models_leaves_no_run(tmp_path: Path) -> None:
    assert "are not trained" in run(tmp_path / "td", "--exp", "mem_inf", code=2)
    assert not list((tmp_path / "td").rglob("unfinished.json"))


_ACCELERATED = importlib.util.find_spec("sklearnex") is not None


@pytest.mark.skipif(_ACCELERATED, reason="scikit-learn-intelex is here")
def test_what_acceleration_needs_is_told(tmp_path: Path) -> None:
    told = run(tmp_path / "td", "--exp", "all", "--original_model", "RF", "--accelerate", code=2)
    assert "run: python -m pip install scikit-learn-intelex" in told


@pytest.mark.skipif(not _ACCELERATED, reason="needs scikit-learn-intelex")
@pytest.mark.parametrize("target", ["RF", "LR"])
def test_accelerated_models_are_other_models(tmp_path: Path, target: str) -> None:
    flags = ["--exp", "all", "--original_model", target, "--accelerate"]
    fast = result_rows(run(tmp_path / "td", *flags))["label_logit"]
    plain = result_rows(run(tmp_path / "td", *flags[:-1], "--retrain_randomness", fast["retrain_randomness"]))
    assert (fast["accelerate"], plain["label_logit"]["accelerate"]) == ("True", "False")
    assert fast["retrain_randomness"] == ("shared" if target == "RF" else "matched")
    assert len(list((tmp_path / "td" / "target_models").iterdir())) == 2


def test_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "td", "--exp", "model_train")
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(tmp_path / "td", "--exp", "mem_inf").splitlines()
    assert all(len(line) <= 80 for line in lines if "Results: " not in line)
    assert any("without DegCount, DegRate" in line for line in lines)
    others = (
        ("three_classes", "--train_missing"),
        ("mem_inf", "--dry_run"),
        ("audit", "--plan"),
        ("status",),
        ("sweep", "--comparison=shadow_size", "--dry_run", "--small"),
    )
    for experiment, *flags in others:
        printed = run(tmp_path / "td", "--exp", experiment, *flags, small=experiment not in ("status", "sweep"))
        # Names of files are never broken.
        assert all(len(line) <= 80 for line in printed.splitlines() if str(tmp_path) not in line), printed
    told = command("main.py", ["--help"], tmp_path).stdout
    assert max(map(len, told.splitlines())) <= 80


def test_private_networks_report_what_they_spent(tmp_path: Path) -> None:
    flags = ["--original_model", "LRTorch", "--num_epochs", "2", "--is_dp_defense", "true", "--sigma", "2"]
    run(tmp_path / "td", "--exp", "model_train", *flags)
    output = run(tmp_path / "td", "--exp", "mem_inf", *flags)
    assert "DP-SGD: epsilon spent" in output
    assert 0 < float(result_rows(output)["basic_mia"]["epsilon"]) < 10


@pytest.mark.parametrize("attack_model", ["DT", "LR", "MLP", "GB"])  # RF: tests/attacks, tests/audit
def test_attack_models_and_defenses(tmp_path: Path, attack_model: str) -> None:
    flags = ["--exp", "mem_inf", "--train_missing", "--attack_model", attack_model]
    open_rows = result_rows(run(tmp_path / "td", *flags))
    label_only = result_rows(run(tmp_path / "td", *flags, "--is_defense", "true", "--top_k", "0"))
    assert label_only["basic_mia"]["auc"] != open_rows["basic_mia"]["auc"]
    assert float(label_only["label_diff"]["auc"]) < float(open_rows["label_diff"]["auc"])
    top_1 = result_rows(run(tmp_path / "td", *flags, "--top_k", "1"))
    assert top_1["direct_diff"]["auc"] == open_rows["direct_diff"]["auc"]  # two classes: one entry tells the other


def test_answers_that_do_not_change_show_nothing(tmp_path: Path) -> None:
    """Label alone of a large set: both versions alike. A constant difference is no membership that is seen."""
    words = ["--exp", "all", "--original_model", "LR", "--unlearning_method", "nothing", "--attack_model", "LR"]
    told = " ".join(run(tmp_path / "td", *words).split())
    assert "No deletion shows: both versions answer alike in every case." in told
    assert "learned nothing" not in told
    auc = float(re.search(r"in every case\. (?:What is seen is membership: )?AUC [\d.]+ \[([\d.]+)", told)[1])  # type: ignore[index]
    assert ("What is seen is membership" in told) == (auc >= 0.5)


def test_the_released_codes_models(tmp_path: Path) -> None:
    flags = ["--exp", "mem_inf", "--train_missing", "--peer_models"]
    output = run(tmp_path / "td", *flags, "--original_model", "LR", "--attack_model", "DT")
    assert "LR_peer target" in output
    told = run(tmp_path / "td", *flags, "--attack_model", "MLP", code=2)
    assert "MLP_peer cannot learn" in told


def test_results_are_the_same_for_any_number_of_processes_and_a_cache_lost_half_way(tmp_path: Path) -> None:
    def attack(*flags: str) -> list[bytes]:
        folder = result_folder(run(tmp_path / "td", "--exp", "mem_inf", "--unlearning_method", "sisa", *flags))
        return [(folder / name).read_bytes() for name in ("results.csv", "results.json", "scores.csv", "settings.json")]

    train = ["--exp", "model_train", "--unlearning_method", "sisa"]
    run(tmp_path / "td", *train, "--num_process", "2")
    first = attack("--num_process", "2")
    for side in ("shadow", "target"):
        (path,) = (tmp_path / "td" / f"{side}_models").iterdir()
        (path / "set_0001.models").unlink()
    assert "2 of 6 sample sets trained, 4 reused" in run(tmp_path / "td", *train, "--is_train_multiprocess", "false")
    assert attack("--num_process", "1") == first
    assert attack("--is_obtain_posterior", "false") == first
    assert attack("--is_sample", "false") == first
    shutil.rmtree(tmp_path / "td")
    run(tmp_path / "td", *train, "--num_process", "1")
    assert attack() == first


def test_nothing_is_called_deleted_that_was_not(tmp_path: Path) -> None:
    for flags, name in (
        ([], "deleted"),
        (["--samples_to_evaluate", "in_in"], "remaining"),
        (["--placebo"], "strangers in the place of deleted records"),
    ):
        told = run(tmp_path / "td", "--exp", "mem_inf", "--train_missing", *flags)
        first = told[: told.index("AUC")]
        assert f" {name}, " in " ".join(first.split())
        assert ("deletion" in told) == (name == "deleted")


def test_cache_is_reused_only_for_the_same_settings(tmp_path: Path) -> None:
    assert "6 of 6" in run(tmp_path / "td", "--exp", "model_train")
    assert "0 of 6" in run(tmp_path / "td", "--exp", "model_train", "--samples_to_evaluate", "in_in")
    for flags in (
        ["--samples_to_evaluate", "online_learning"],
        ["--seed", "1"],
        ["--fresh_retrain_seed"],
        ["--retrain"],
        ["--original_model", "LR"],
    ):
        assert "6 of 6" in run(tmp_path / "td", "--exp", "model_train", *flags), flags
    complaint = run(tmp_path / "td", "--exp", "mem_inf", "--seed", "7", code=2)
    assert "run: python main.py --exp model_train " in complaint
    assert "--shadow_set_num 3 --shadow_set_size 400" in complaint
    assert "--seed 7" in complaint


def test_the_log_says_why_models_are_trained_again(tmp_path: Path) -> None:
    """Other settings are no news; the same settings after an update are."""

    def log(*flags: str) -> str:
        command = [sys.executable, "main.py", "--exp", "model_train", *SMALL, "--temp_data", str(tmp_path / "td")]
        done = subprocess.run([*command, *flags], capture_output=True, text=True, cwd=PROJECT, check=True)
        return done.stderr

    run(tmp_path / "td", "--exp", "model_train")
    assert "the closest have" not in log("--seed=4")
    assert re.search("the closest have seed [04] instead of 5", log("--seed=5", "--log_level=debug"))
    for path in (tmp_path / "td").glob("*_models/*/manifest.json"):
        path.write_text(path.read_text().replace('"cache_version": ', '"cache_version": 1'))
        path.parent.rename(path.parent.with_name("older" + path.parent.name[-3:]))
    assert re.search(r"no cached models to reuse; the closest have cache_version 1\d instead of", log())


def test_several_seeds_are_summarised_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    flags = ["--exp", "mem_inf", "--train_missing", "--seeds", "0,3"]
    output = run(tmp_path / "td", *flags)
    assert "Over seeds 0, 3:" in output
    assert output.count("Results: ") == 2
    rows = [result_rows(part)["label_diff"] for part in re.findall(r"Results: \S+", output)]
    mean = sum(float(row["auc"]) for row in rows) / 2
    assert re.search(rf"^label_diff +{mean:.3f} \[.*\d$", output, re.MULTILINE)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "td").rglob("*.csv")}
    assert run(tmp_path / "td", *flags, "--skip_finished").count("finished already") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "2 runs in 1 comparison, 0 unfinished" in run(tmp_path / "td", "--exp", "report")
    printed = run(tmp_path / "td", "--exp", "report", "--comparison", "scratch")
    assert f"{mean:.3f} [" in printed


def test_a_run_with_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    flags = ["--exp", "mem_inf", "--train_missing", "--skip_finished"]
    folder = Path(run(tmp_path, *flags).rpartition("Results: ")[2].strip())
    for name, content in (
        ("results.csv", None),
        ("results.json", "[]"),
        ("settings.json", ""),
        ("scores.csv", "[" * 9999),
    ):
        whole = (folder / name).read_bytes()
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(content, encoding="utf-8")
        assert "finished already" not in run(tmp_path, *flags)
        assert (folder / name).read_bytes() == whole
    assert "finished already" in run(tmp_path, *flags)


def test_posteriors_that_are_there_are_used_again(tmp_path: Path) -> None:
    flags = ["--exp", "mem_inf", "--train_missing", "--skip_finished"]
    run(tmp_path / "td", *flags)
    for side in ("shadow", "target"):
        shutil.rmtree(tmp_path / "td" / f"{side}_models")
    kept = result_rows(run(tmp_path / "td", *flags, "--attack_model", "LR"))
    assert not (tmp_path / "td" / "target_models").exists()
    fresh = result_rows(run(tmp_path / "new", "--exp", "mem_inf", "--train_missing", "--attack_model", "LR"))
    assert kept == fresh


@pytest.mark.parametrize("kept", ["none", "originals"])
def test_attacks_without_models(tmp_path: Path, kept: str) -> None:
    """The same numbers; what was trained and broken off is not trained again."""
    flags = ["--keep_models", kept]
    assert "--keep_models" in run(tmp_path / "td", "--exp", "mem_inf", *flags, code=2)
    run(tmp_path / "td", "--exp", "model_train", *flags)
    models = list((tmp_path / "td").rglob("*.models"))
    assert len(models) == (0 if kept == "none" else 6)
    assert not list((tmp_path / "td").rglob("*.parts"))
    found = result_rows(run(tmp_path / "td", "--exp", "mem_inf", *flags))
    assert found == result_rows(run(tmp_path / "whole", "--exp", "all"))
    told = run(tmp_path / "td", "--exp", "mem_inf", "--attacks", "all", *flags)
    assert "likelihood_ratio" in told
    assert "probe_matched" not in told


def test_models_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """A billion bytes each."""
    method = SimpleNamespace(work=lambda *asked: iter([[None] * 1000]))
    study: Any = SimpleNamespace(
        settings=SimpleNamespace(sides={"shadow": SimpleNamespace(unlearning_size=999)}),
        trainer={"shadow": SimpleNamespace(bytes_a_model=lambda task: 1e9)},
        store={"shadow": SimpleNamespace(folder=tmp_path / "models" / "here")},
        training_of=lambda side, index: (np.arange(5), [], 0),
        method={"shadow": method},
    )
    check_space(study, [("shadow", 0)])  # a thousand are not looked at
    with pytest.raises(UserError, match=r"1,000,000 models take about .*; lower --shadow_set_num"):
        check_space(study, [("shadow", index) for index in range(1000)])


def test_an_attack_transfers_to_another_family_and_other_data(tmp_path: Path) -> None:
    family = ["--exp", "mem_inf", "--train_missing", "--original_model", "LR", "--shadow_original_model", "DT"]
    output = run(tmp_path / "td", *family)
    assert "LR target, attack learned on adult / income with DT" in output
    assert set(result_rows(output)) == set(FEATURES) - set(OF_NUMBERS)
    location = ["--exp", "mem_inf", "--dataset_name", "location", "--original_label", "synthetic"]
    complaint = run(tmp_path / "td", *location, "--shadow_dataset_name", "adult", code=2)
    assert "adult / income has 2 classes, location / synthetic (synthetic) 9" in complaint


def test_a_killed_attack_is_listed_as_unfinished(tmp_path: Path) -> None:
    run(tmp_path / "td", "--exp", "mem_inf", "--train_missing")
    flags = ["--exp", "mem_inf", "--train_missing", "--original_model", "MLP", *SMALL, "--num_process", "1"]
    command = [sys.executable, "main.py", *flags, "--temp_data", str(tmp_path / "td")]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
    while not list((tmp_path / "td").rglob("unfinished.json")) and process.poll() is None:
        pass
    process.kill()
    process.wait()
    assert "1 run in 1 comparison, 1 unfinished" in run(tmp_path / "td", "--exp", "report")
    page = (tmp_path / "td" / "attack_data" / "report" / "report.html").read_text(encoding="utf-8")
    assert "Interrupted runs" in page
    run(tmp_path / "td", *flags, "--skip_finished")
    assert "2 runs in 1 comparison, 0 unfinished" in run(tmp_path / "td", "--exp", "report")


def test_network_results_hold_their_training_curves(tmp_path: Path) -> None:
    flags = ["--exp", "mem_inf", "--train_missing", "--original_model", "LRTorch", "--num_epochs", "3"]
    folder = result_folder(run(tmp_path / "td", *flags))
    with open(folder / "curves.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2 * 2 * 3
    losses = [float(row["training_loss"]) for row in rows if (row["side"], row["model"]) == ("target", "original")]
    assert losses[0] > losses[2] > 0
    assert all(0 < float(row["held_out_accuracy"]) <= 1 for row in rows)
    (kept,) = (path for path in (tmp_path / "td" / "target_models").iterdir())
    assert kept.name.startswith("adult-income_LRTorch_scratch-")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--target_set_size=30000", "--target_set_size 30000: the target positive pool holds 19536 records"),
        ("--target_num_shard=401 --unlearning_method=sisa", "--target_num_shard 401: a set holds 400 records"),
        ("--shadow_set_num=0", "--shadow_set_num: must be at least 1, found 0"),
        ("--shadow_unlearning_num=400", "--shadow_unlearning_num 400: a set holds 400 records"),
        ("--original_model=SVM", "--original_model: invalid choice: 'SVM'"),
        ("--original_model=resnet50", "--original_model resnet50 learns from images; adult is a table"),
        ("--dataset_name=stl10", "--dataset_name stl10: no raw file of stl10 / object in"),
        ("--original_label=age", "--original_label age: adult has income"),
        ("--is_dp_defense=true", "--is_dp_defense true: DP-SGD trains networks, not DT"),
        ("--is_defense=true", "--is_defense true: add --top_k K"),
        ("--is_sample=maybe", "expected true or false, found 'maybe'"),
        ("--lr=-1", "--lr: must be above 0"),
        ("--original_model=MLPTorch --batch_size=500", "--batch_size 500: a set holds 400 records"),
        ("--num_epochs=0", "--num_epochs: must be at least 1, found 0"),
        ("--original_model=LRTorch --cuda=7", "(or --cuda): this machine has"),
        ("--original_model=RF --accelerate --retrain_randomness=matched", "forests take no weights"),
        ("--original_model=LR --accelerate --solver=newton", "--solver newton and --accelerate"),
        ("--original_model=LRTorch --cuda=0 --device=cpu", "--cuda 0 and --device cpu name different devices"),
        ("--seeds=0,0", "names a value twice: 0,0"),
        ("--seeds=0,x", "--seeds: expected a whole number, found 'x'"),
        ("--seed=1 --seeds=2,3", "--seed and --seeds: name one of them"),
        ("--unlearning_methd=sisa", "did you mean --unlearning_method?"),
        ("--attack_model=rf", "did you mean RF?"),
        ("--target_set_num=1000000000", "more than 5,000,000 a side are not attempted"),
        ("--config=nowhere.yaml", "--config nowhere.yaml: No such file"),
        ("--plugin=nowhere.py", "--plugin nowhere.py: there is no such file"),
        ("--plugin=no_such_module", "--plugin no_such_module: ModuleNotFoundError"),
        ("--shadow_original_model=SVM", "--shadow_original_model: invalid choice: 'SVM'"),
        ("--shadow_dataset_name=stl10", "--dataset_name stl10: no raw file of stl10 / object in"),
        ("--seed=x", "--seed: expected a whole number, found 'x'"),
        ("--no_such_flag", "unrecognized arguments: --no_such_flag"),
        ("--is_sample=false", "run once with --is_sample true"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, flags: str, complaint: str) -> None:
    flag_names = {flag.split("=")[0] for flag in flags.split()}
    sizes = [flag for flag in SMALL if flag.split("=")[0] not in flag_names]
    found = run(tmp_path / "td", "--exp", "model_train", *flags.split(), *sizes, code=2, small=False)
    assert complaint in found
    assert not list((tmp_path / "td").rglob("*.models")) if (tmp_path / "td").exists() else True


def test_a_value_that_is_none_of_a_flags_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every flag but those that take any text, with five values of the wrong kind."""
    monkeypatch.chdir(tmp_path)  # --save_config writes what it is named
    told: list[tuple[list[str], str]] = []
    for action in build_parser()._actions:
        flag = next((word for word in reversed(action.option_strings) if word.startswith("--")), None)
        if flag in (None, "--help", "--exp"):
            continue
        for value in ("nonsense!", "", "nan", "-1", "1e999"):
            try:
                parse_settings(["--exp=mem_inf", f"{flag}={value}"])
            except UserError as error:
                told.append(([word.lstrip("-") for word in action.option_strings if word.startswith("--")], str(error)))
    assert not [line for names, line in told if not any(name in line for name in names) or "\n" in line]
    assert len(told) > 500


@pytest.mark.parametrize("pattern", ["set_0001.models", "features.npy", "dataset.json", "posteriors"])
def test_a_damaged_file_is_named(tmp_path: Path, pattern: str) -> None:
    run(tmp_path / "td", "--exp", "model_train")
    extra: list[str] = []
    if pattern == "posteriors":
        run(tmp_path / "td", "--exp", "mem_inf")
        extra, pattern = ["--is_obtain_posterior", "false"], "*.npz"
        found = next((tmp_path / "td" / "attack_data").rglob(pattern))
    else:
        found = next((tmp_path / "td").rglob(pattern))
    content = found.read_bytes()
    found.write_bytes(content[: len(content) // 2])
    complaint = run(tmp_path / "td", "--exp", "mem_inf", *extra, code=2)
    assert found.name in complaint or str(found.parent) in complaint
    assert "delete" in complaint


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000])
def test_a_damaged_manifest_of_other_models_stops_nobody(tmp_path: Path, content: str) -> None:
    run(tmp_path / "td", "--exp", "model_train")
    damaged = list((tmp_path / "td").rglob("manifest.json"))
    assert damaged
    for path in damaged:
        path.write_text(content, encoding="utf-8")
    run(tmp_path / "td", "--exp", "model_train", "--seed", "1")


def test_a_run_that_fails_leaves_earlier_results_what_they_are(tmp_path: Path) -> None:
    run(tmp_path / "td", "--exp", "all")
    models = next((tmp_path / "td").rglob("set_0000.models"))
    whole = models.read_bytes()
    models.write_bytes(whole[:-5])
    run(tmp_path / "td", "--exp", "mem_inf", code=2)
    run(tmp_path / "td", "--exp", "report", small=False)
    models.write_bytes(whole)
    assert "finished already" in run(tmp_path / "td", "--exp", "mem_inf", "--skip_finished")


def test_another_seeds_split_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    for seed in ("0", "1"):
        run(tmp_path / "td", "--exp", "all", "--seed", seed)
    before = {path: path.read_bytes() for path in (tmp_path / "td").rglob("set_*.models")}
    first, second = (next((tmp_path / "td" / "split_indices").glob(f"*seed{seed}_*.npz")) for seed in "01")
    shutil.copy(second, first)
    told = run(tmp_path / "td", "--exp", "all", "--is_sample", "false", code=2)
    assert "does not hold what --seed 0 draws" in told
    assert {path: path.read_bytes() for path in (tmp_path / "td").rglob("set_*.models")} == before


def test_models_and_answers_of_another_user_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees, networks, answers and what own models said: each lies in a folder that comes from somebody with a key."""
    kinds = {
        "DT": ["--original_model", "DT"],
        "LRTorch": ["--original_model", "LRTorch", "--num_epochs", "2"],
        "LR": ["--original_model", "LR", "--is_obtain_posterior", "false"],
    }
    for words in kinds.values():
        run(tmp_path / "td", "--exp", "all", *words[:4] if "LRTorch" in words else words[:2])
    own = ["--exp", "mem_inf", *kinds["DT"], "--attacks", "all"]
    before = result_rows(run(tmp_path / "td", *own))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody"))
    for words in kinds.values():
        told = run(tmp_path / "td", "--exp", "mem_inf", *words, code=2)
        assert "was not written by this installation and could" in told
        run(tmp_path / "td", "--exp", "mem_inf", *words, "--trust_cache")
    run(tmp_path / "td", "--exp", "model_train", *kinds["DT"], "--retrain")  # only own models are still another's
    assert ".npz was not written by this installation" in run(tmp_path / "td", *own, code=2)
    assert result_rows(run(tmp_path / "td", *own, "--trust_cache")) == before


def test_what_is_rebuilt_is_the_targets_whatever_the_shadow_side_trains(tmp_path: Path) -> None:
    """A linear target is known by asking it."""
    flags = ["--exp", "reconstruct", "--train_missing", "--original_model", "LR"]
    rows = [
        re.findall(r"^rebuilt .*$", run(tmp_path / "td", *flags, *shadow), re.MULTILINE)
        for shadow in ([], ["--shadow_original_model", "DT"])
    ]
    assert rows[0]
    assert rows[0] == rows[1]


def test_what_killed_runs_left_is_cleared_everywhere(tmp_path: Path) -> None:
    run(tmp_path / "td", "--exp", "all")
    left = [folder / f".x.{HOST}.{2**22 + 1}.abcd1234.tmp" for folder in Layout(tmp_path / "td").written]
    for path in left:
        path.touch()
    run(tmp_path / "td", "--exp", "mem_inf")
    assert len(left) > 8
    assert not [path for path in left if path.exists()]


def test_a_full_disk_leaves_no_half_written_file(tmp_path: Path) -> None:
    """A limit on file size, as a shell sets it, stands in for a disk without space."""
    command = f"ulimit -f 8; {sys.executable} main.py --exp model_train --temp_data {tmp_path / 'td'} {' '.join(SMALL)}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=PROJECT, check=False)
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in (tmp_path / "td").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_killed_run_is_resumed(tmp_path: Path) -> None:
    flags = ["--exp", "model_train", "--original_model", "MLP", *SMALL, "--temp_data", str(tmp_path / "td")]
    process = subprocess.Popen([sys.executable, "main.py", *flags, "--num_process", "1"], cwd=PROJECT)
    while not list((tmp_path / "td").rglob("*.models")) and process.poll() is None:
        pass
    process.kill()
    process.wait()
    kept = len(list((tmp_path / "td").rglob("*.models")))
    assert f"{6 - kept} of 6 sample sets trained, {kept} reused" in run(tmp_path / "td", *flags[:4])
    assert not list((tmp_path / "td").rglob("*.tmp"))
    assert "direct_diff" in run(tmp_path / "td", "--exp", "mem_inf", "--original_model", "MLP")


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "main.py", "--exp", "model_train", *SMALL, "--temp_data", str(tmp_path / "td")]
    processes = [subprocess.Popen(command, cwd=PROJECT) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert "0 of 6" in run(tmp_path / "td", "--exp", "model_train")


def test_help_explains_every_flag_and_a_tree_needs_no_torch(tmp_path: Path) -> None:
    text = subprocess.run(
        [sys.executable, "main.py", "--help"], capture_output=True, text=True, cwd=PROJECT, check=True
    ).stdout
    for flag in (
        "--exp",
        "--top_k",
        "--sample-rate",
        "--max-per-sample-grad_norm",
        "--trust_cache",
        "--target_num_shard",
    ):
        assert flag in text
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    command = [sys.executable, "main.py", "--exp", "model_train", *SMALL, "--temp_data", str(tmp_path / "td")]
    imports = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env=environment, check=True).stderr
    assert "sklearn.tree" in imports
    assert not re.search(r"\| +(torch|opacus|matplotlib)$", imports, re.MULTILINE)


def test_reference_figures_at_reduced_size(tmp_path: Path) -> None:
    """Adult, 5 sets a side instead of 10: bands around the reference's figures that a broken attack misses."""
    sizes = [f"--{side}_set_num=5" for side in ("shadow", "target")]
    bands = {
        ("DT", "scratch"): {"direct_diff": (0.75, 0.95), "label_diff": (0.79, 0.97), "label_logit": (0.80, 0.97)},
        ("LR", "scratch"): {"direct_diff": (0.68, 0.90), "sorted_diff": (0.70, 0.91), "label_logit": (0.82, 0.98)},
    }
    for (model, method), expected in bands.items():
        flags = ["--original_model", model, "--unlearning_method", method, *sizes]
        run(tmp_path / "td", "--exp", "model_train", *flags, small=False)
        rows = result_rows(run(tmp_path / "td", "--exp", "mem_inf", *flags, small=False))
        for feature, (low, high) in {**expected, "basic_mia": (0.40, 0.60)}.items():
            assert low <= float(rows[feature]["auc"]) <= high, (model, method, feature)
        placebo = result_rows(run(tmp_path / "td", "--exp", "mem_inf", "--placebo", *flags, small=False))
        inside = [float(row["auc_low"]) <= 0.5 <= float(row["auc_high"]) for row in placebo.values()]
        assert sum(inside) >= 6, (model, method)
