"""The report: what is read, what is put side by side, and that the page shows it."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib_unlearning import exposed_records, report, run_files, wording
from lib_unlearning.attacks.still_there import StillThere
from lib_unlearning.cache.files import digest, unfinished, write_json
from lib_unlearning.cache.layout import UNFINISHED, Layout
from lib_unlearning.construct_feature import BASELINE, FEATURES
from lib_unlearning.errors import UserError
from lib_unlearning.posterior import Answers, PosteriorSet
from lib_unlearning.reporting import archive, claims, comparisons, page, style, tables
from lib_unlearning.reporting.archive import CHOSEN
from lib_unlearning.reporting.build import build_report
from lib_unlearning.reporting.comparisons import COMPARISONS, panels
from lib_unlearning.statistics import metrics
from lib_unlearning.statistics.intervals import Estimate
from parameter_parser import parse_settings

SETS, CASES = 4, 20
ALONE = StillThere(Estimate(0.5, 0.4, 0.6, 0.03), None, None, None, False)


def write_run(temp_data: Path, strength: float, *flags: str) -> Path:
    """A run folder as mem_inf leaves it, of an attack that is `strength` standard deviations good."""
    sized_flags = [f"--{side}_{name}" for side in ("shadow", "target") for name in (f"set_num={SETS}", "set_size=2000")]
    settings = parse_settings(["--exp", "mem_inf", *sized_flags, *flags])
    rng = np.random.default_rng(settings.seed)
    member, sets = np.tile([1, 0], SETS * CASES), np.repeat(np.arange(SETS), 2 * CASES)
    scores = {
        feature: 1 / (1 + np.exp(-rng.normal(size=len(member)) - strength * member * (feature != BASELINE)))
        for feature in FEATURES
    }
    results = {
        feature: metrics.evaluate(values, None if feature == BASELINE else scores[BASELINE], member, sets, 0.5)
        for feature, values in scores.items()
    }
    guess = np.full((len(member), 2), 0.5)
    cases = PosteriorSet(guess, guess, member, member, member, sets, member)
    answers = Answers(cases, np.full((SETS, 3, 3), [0.9, 0.8, np.nan]), np.zeros((SETS, 2, 0, 3)))
    exposures = {name: exposed_records.exposure(found, cases, found[member == 0]) for name, found in scores.items()}
    folder = Layout(temp_data).attack_data / digest([*flags, strength])[:10]
    rows = run_files.result_rows(
        settings.flat() | {"synthetic": False} | run_files.outcomes(answers, run_files.Sharing(0.1, 1), ALONE),
        results,
        "label_diff",
        results,
        exposures,
        member,
    )
    run_files.save_run(folder, rows, {}, cases, scores, exposures["label_diff"])
    return folder


def findings(temp_data: Path) -> list[archive.Finding]:
    return archive.combine_runs(archive.read_runs(Layout(temp_data).attack_data))


# ---------------------------------------------------------------- reading


def test_seeds_are_averaged_and_nothing_else_is(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, 1.0, f"--seed={seed}")
    for flags in (
        ["--original_model=LR"],
        ["--shadow_set_size=500"],
        ["--top_k=1"],
        ["--placebo"],
        ["--attack_model=RF"],
    ):
        write_run(tmp_path, 1.0, *flags)
    found = findings(tmp_path)
    assert sorted(len(finding.seeds) for finding in found) == [1, 1, 1, 1, 1, 3]
    (repeated,) = (finding for finding in found if len(finding.seeds) == 3)
    runs = [archive.read_run(folder / "results.json") for folder in repeated.folders]
    mean = np.mean([run.features["label_diff"]["auc"].value for run in runs])
    assert repeated.features["label_diff"]["auc"].estimate.value == pytest.approx(mean)
    assert repeated.features[CHOSEN]["auc"].estimate == repeated.features["label_diff"]["auc"].estimate
    assert repeated.outcomes["positives"] == 3 * SETS * CASES


def test_networks_of_other_epochs_or_noise_are_other_findings(tmp_path: Path) -> None:
    network = "--original_model=LRTorch"
    for flags in ([], ["--num_epochs=5"], ["--is_dp_defense=true"], ["--is_dp_defense=true", "--sigma=2"]):
        write_run(tmp_path, 1.0, network, *flags)
    assert len(findings(tmp_path)) == 4


def test_unfinished_runs_are_listed_and_not_counted(tmp_path: Path) -> None:
    write_run(tmp_path, 1.0)
    folder = write_run(tmp_path, 2.0, "--seed=1")
    with pytest.raises(ZeroDivisionError), unfinished(folder / UNFINISHED, {"seed": 1}):
        raise ZeroDivisionError
    assert [finding.seeds for finding in findings(tmp_path)] == [[0]]
    assert archive.read_unfinished(Layout(tmp_path)) == [(folder, {"seed": 1})]
    with unfinished(folder / UNFINISHED, {}):
        pass
    assert archive.read_unfinished(Layout(tmp_path)) == []


@pytest.mark.parametrize("damage", ["", "[]", "{}", '[{"feature": "l2_distance"}]', "[1]"])
def test_a_damaged_result_is_named_and_left_out(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    write_run(tmp_path, 1.0)
    folder = write_run(tmp_path, 1.0, "--seed=1")
    (folder / "results.json").write_text(damage)
    with caplog.at_level("WARNING", logger="unlearning"):
        assert [finding.seeds for finding in findings(tmp_path)] == [[0]]
    assert str(folder) in caplog.text


def test_nothing_to_report_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results under"):
        build_report(Layout(tmp_path), None, 0.6)
    write_run(tmp_path, 1.0)
    with pytest.raises(UserError, match=r"--comparison sisa: no results .* run scripts/sisa\.sh"):
        build_report(Layout(tmp_path), "sisa", 0.6)


# ---------------------------------------------------------------- comparisons


def sized(name: str, value: int) -> list[str]:
    return [f"--{side}_{name}={value}" for side in ("shadow", "target")]


TODAY = ["--attacks=all"]
# comparison -> (flags of each point, positions expected)
POINTS: dict[str, tuple[list[list[str]], list[Any]]] = {
    "scratch": (
        [
            ["--attack_model=RF"],
            ["--original_model=LRTorch", "--num_epochs=60"],
            ["--original_model=LRTorch", "--num_epochs=60", "--batch_size=256"],
        ],
        [
            "DT / DT",
            "DT / RF",
            "LRTorch, 60 epochs of batches of 256, matched / DT",
            "LRTorch, 60 epochs, matched / DT",
        ],
    ),
    "overfitting": ([["--max_leaf_nodes=50"], ["--max_leaf_nodes=2"]], [2, 10, 50]),
    "sisa": ([["--unlearning_method=sisa", *sized("num_shard", count)] for count in (20, 5)], [5, 20]),
    "group_deletion": ([sized("unlearning_num", 5), sized("unlearning_num", 100)], [1, 5, 100]),
    "multi_version": (
        [["--samples_to_evaluate=in_out_multi_version", *sized("unlearning_num", count)] for count in (2, 50)],
        [2, 50],
    ),
    "online_learning": (
        [["--samples_to_evaluate=online_learning", *sized("unlearning_num", count)] for count in (1, 5)],
        [1, 5],
    ),
    "remaining": (
        [["--samples_to_evaluate=in_in"], ["--samples_to_evaluate=in_in", "--unlearning_method=sisa"]],
        ["DT / scratch / DT", "DT / sisa / DT"],
    ),
    "shadow_size": ([["--shadow_set_size=500"], ["--shadow_set_size=1000"]], [500, 1000, 2000]),
    "transfer": (
        [
            ["--shadow_original_model=LR"],
            ["--original_model=LR", "--shadow_original_model=DT"],
            ["--original_model=LR"],
        ],
        [("DT", "DT"), ("DT", "LR"), ("LR", "DT"), ("LR", "LR")],
    ),
    "defense": ([["--top_k=0"], ["--temperature=5"]], ["none", "label only", "temperature 5"]),
    "placebo": ([["--placebo"]], ["DT / scratch / DT"]),
    "adversary": (
        [
            [*TODAY, "--own_models=0"],
            [*TODAY, "--top_k=0"],
            [*TODAY, "--own_models=0", "--top_k=0"],
            [*TODAY, "--probes=100"],
            TODAY,
        ],
        [
            ("0 rounds of own models", "label only"),
            ("0 rounds of own models", "none"),
            ("100 probes", "none"),
            ("usual (1 round of own models)", "label only"),
            ("usual (1 round of own models)", "none"),
        ],
    ),
    "adversary_families": ([TODAY, [*TODAY, "--original_model=LR"]], ["DT / scratch / DT", "LR / scratch / DT"]),
    "adversary_batches": ([TODAY, [*TODAY, *sized("unlearning_num", 5)]], [1, 5]),
    "adversary_defense": (
        [TODAY, [*TODAY, "--round_digits=2"], [*TODAY, "--retrain_randomness=fresh"]],
        ["none", "none, fresh retraining", "rounded to 2 digits"],
    ),
    "randomness": ([["--retrain_randomness=shared"]], ["fresh", "matched", "shared"]),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_what_belongs_side_by_side(tmp_path: Path, name: str) -> None:
    """A base run, the points of the comparison, and one run that must stay out."""
    flags, expected = POINTS[name]
    for number, some in enumerate([[], ["--fresh_retrain_seed"], *flags]):
        write_run(tmp_path, 1.0 + number / 10, *some)
    (panel, *_) = panels(COMPARISONS[name], findings(tmp_path))
    assert [value for value, _ in panel.points] == expected
    build_report(Layout(tmp_path), name, 0.6)
    folder = Layout(tmp_path).report
    text = (folder / "tables" / f"{name}.md").read_text()
    rows = list(csv.DictReader((folder / "tables" / f"{name}.csv").open()))
    assert len(rows) == len(expected) * (len(FEATURES) + 1)
    for row in rows:  # both tables say the same
        if row["feature"] == CHOSEN:
            value, low, high = (float(row[f"auc_{name}"]) for name in ("value", "low", "high"))
            assert f"| {wording.with_interval(Estimate(value, low, high, None))} |" in text
    assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "figures" / f"{name}.svg").read_text()


# What makes two runs differ that no comparison has for an axis.
APART = (
    ["--target_set_num=3"],
    ["--target_unlearning_size=7"],
    ["--versions=unlearned"],
    ["--versions=original"],
    ["--label_known=false"],
    ["--queries=1", *TODAY],
    ["--own_models=4", *TODAY],
    TODAY,
    ["--unlearning_method=sisa", "--target_set_num=3"],
    ["--unlearning_method=sisa", "--target_num_shard=3"],
    ["--original_model=LRTorch", "--lr=0.1"],
    ["--original_model=LRTorch", "--lr=0.2"],
    ["--original_model=LRTorch", "--optim=SGD"],
    ["--unlearning_method=neg_grad", "--original_model=LRTorch"],
    ["--unlearning_method=neg_grad", "--original_model=LRTorch", "--ascent_lr=1"],
    ["--placebo"],
    ["--placebo", "--samples_to_evaluate=in_in"],
    ["--placebo", "--samples_to_evaluate=online_learning"],
    ["--samples_to_evaluate=online_learning", "--target_set_num=3"],
    ["--samples_to_evaluate=in_in", "--target_set_num=3"],
)


def test_every_setting_stands_in_the_report_under_a_name_of_its_own(tmp_path: Path) -> None:
    for number, flags in enumerate([[], *APART]):
        write_run(tmp_path, 1.0 + number / 50, *flags)
    build_report(Layout(tmp_path), None, 0.6)
    folder = Layout(tmp_path).report / "tables"
    for path in folder.glob("*.md"):
        lines = path.read_text().splitlines()
        headings = [line for line in lines if line.startswith("## ")]
        assert len(set(headings)) == len(headings), path
        for part in path.read_text().split("\n\n"):
            first = [line.split(" | ")[0] for line in part.splitlines() if line.startswith("| ")]
            assert len(set(first)) == len(first), (path, part)
    rows = list(csv.DictReader((folder / "others.csv").open()))
    assert {row["versions"] for row in rows if row["feature"] == CHOSEN} >= {"unlearned", "original"}


def test_claims_and_headline_leave_out_who_sees_less(tmp_path: Path) -> None:
    write_run(tmp_path, 4.0)
    before = claims.judge(findings(tmp_path))
    for number, flags in enumerate((["--versions=unlearned"], ["--versions=original"], ["--label_known=false"])):
        write_run(tmp_path, 0.01 * number, *flags)
    assert claims.judge(findings(tmp_path)) == before
    assert "in 1 of 1 undefended setting," in page.headline(page.audited(findings(tmp_path)))
    assert "sees both versions" in page.headline([])


def test_the_same_deletions_count_once_and_none_is_lost(tmp_path: Path) -> None:
    """Intermediate versions of one record a request, and the paper's attacks beside today's, as twins and alone."""
    versions = ["--samples_to_evaluate=in_out_multi_version"]
    for number, (flags, counted) in enumerate(
        (
            (versions, {("in_out_multi_version", "paper")}),
            ([*versions, "--attacks=all"], {("in_out_multi_version", "all")}),
            ([], {("in_out", "paper"), ("in_out_multi_version", "all")}),
            (["--attacks=all"], {("in_out", "all")}),
        )
    ):
        write_run(tmp_path, 3.0 + number / 10, *flags)
        audited = page.audited(findings(tmp_path))
        kinds = [(found.settings["samples_to_evaluate"], found.settings["attacks"]) for found in audited]
        assert set(kinds) == counted
        assert "Deletions are visible" in page.headline(audited)
    build_report(Layout(tmp_path), None, 0.6)
    told = " ".join((Layout(tmp_path).report / "report.html").read_text(encoding="utf-8").split())
    assert "3 more settings of the tables ask about deletions that count already." in told


def test_the_planner_says_what_is_shown(tmp_path: Path) -> None:
    for number, count in enumerate((1, 5, 100)):
        write_run(tmp_path, 1.2 - 0.6 * number, *sized("unlearning_num", count))
    (panel, *_) = panels(COMPARISONS["group_deletion"], findings(tmp_path))
    aucs = [finding.features[CHOSEN]["auc"].estimate for _, finding in panel.points]
    for limit in (0.55, 0.6, 0.7, 0.99):
        told = tables.batch_plan(panel, limit)
        assert told is not None
        shown = [auc.high is not None and auc.high < limit for auc in aucs]
        assert ("no size up to 100 is shown to" in told) == (not shown[-1]), told
        assert ("already 1 do" in told) == all(shown), told


# ---------------------------------------------------------------- claims


def test_claims_follow_the_numbers(tmp_path: Path) -> None:
    for shards, strength in ((1, 3.0), (20, 0.3)):
        write_run(tmp_path, strength, "--unlearning_method=sisa", *sized("num_shard", shards))
    for model in ("DT", "LR"):
        write_run(tmp_path, 3.0, f"--original_model={model}")
        write_run(tmp_path, 3.001, f"--original_model={model}", "--top_k=1")
        write_run(tmp_path, 0.0, f"--original_model={model}", "--top_k=0")
        write_run(tmp_path, 3.001, f"--original_model={model}", "--temperature=5")
    found = {verdict.claim: verdict for verdict in claims.judge(findings(tmp_path))}
    expected = {
        "The attack works": "holds",
        "It beats the classical attack": "holds",
        "Sorting helps": "undecided",  # all features are equally good here, but that is not shown
        "SISA weakens the attack": "holds",
        "Publishing the label alone helps": "holds",
        "Temperature scaling helps": "does not hold",
        "Top-k does not help": "holds",
    }
    assert {claim: found[claim].verdict for claim in expected} == expected
    assert "clear in 1 of 1 comparison," in found["SISA weakens the attack"].measured
    assert "DP-SGD helps" not in found


def test_sentences_are_computed_from_all_findings(tmp_path: Path) -> None:
    for model, strength in (("DT", 3.0), ("LR", 0.0)):
        write_run(tmp_path, strength, f"--original_model={model}")
        write_run(tmp_path, 0.0, f"--original_model={model}", "--placebo")
    write_run(tmp_path, 3.0, "--samples_to_evaluate=in_in")
    classical, remaining, placebo = claims.sentences(findings(tmp_path))
    assert " in 2 settings with deletions" in classical
    assert "clearly in 1 of 1 setting: adult / income, DT, scratch " in remaining
    assert re.search(r"Placebo: \d of 2 intervals hold 0.5; up to 0\.\d\d is not excluded", placebo)


def test_pairs_that_cannot_differ_are_no_evidence(tmp_path: Path) -> None:
    """With two classes top 1 tells everything: the same scores twice say nothing of the defense."""
    write_run(tmp_path, 3.0)
    write_run(tmp_path, 3.0, "--top_k=1")
    write_run(tmp_path, 3.0, "--temperature=1")
    found = {verdict.claim for verdict in claims.judge(findings(tmp_path))}
    assert not found & {"Top-k does not help", "Temperature scaling helps"}


def test_a_null_claim_needs_more_than_a_wide_interval(tmp_path: Path) -> None:
    few = [f"--{side}_set_num=2" for side in ("shadow", "target")]
    write_run(tmp_path, 0.5, *few)
    write_run(tmp_path, 0.52, "--top_k=1", *few)
    (found,) = (verdict for verdict in claims.judge(findings(tmp_path)) if verdict.claim == "Top-k does not help")
    assert found.verdict == "undecided"
    assert "shown to be within 0.05 in 0;" in found.measured


def test_own_tables_are_not_judged_by_the_papers_claims(tmp_path: Path) -> None:
    folder = write_run(tmp_path, 3.0)
    rows = json.loads((folder / "results.json").read_text())
    for row in rows:
        row |= {"dataset_name": "mine", "shadow_dataset_name": "mine"}
    (folder / "results.json").write_text(json.dumps(rows))
    assert claims.judge(findings(tmp_path)) == []


# ---------------------------------------------------------------- page


class Page(HTMLParser):
    """Ids, links, tags, and whether every tag is closed."""

    void = frozenset({"meta", "br", "link", "img", "path", "use"})

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.void:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(str(value))
            if name in ("href", "xlink:href", "src"):
                self.references.append(str(value))
            self.references += re.findall(r"url\(([^)]*)\)", str(value))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with several comparisons, a hostile name among the settings, and an unfinished run."""
    temp_data = tmp_path_factory.mktemp("td")
    for seed in (0, 1, 2):
        for flags in ([], ["--placebo"], ["--top_k=0"], ["--original_model=LR"]):
            write_run(temp_data, 0.0 if {"--placebo", "--top_k=0"} & set(flags) else 3.0, *flags, f"--seed={seed}")
        write_run(temp_data, 1.0, "--unlearning_method=sisa", *sized("num_shard", 5), f"--seed={seed}")
        write_run(temp_data, 1.5, "--unlearning_method=sisa", *sized("num_shard", 2), f"--seed={seed}")
    hostile = write_run(temp_data, 1.0, "--dataset_name=adult", "--seed=9")
    rows = json.loads((hostile / "results.json").read_text())
    for row in rows:  # a table of the user's own, with a label that is a script
        row |= {"dataset_name": "mine", "original_label": "<script>alert(1)</script>"}
        row |= {"shadow_dataset_name": "mine", "shadow_original_label": "<script>alert(1)</script>"}
    (hostile / "results.json").write_text(json.dumps(rows))
    folder = Layout(temp_data).attack_data / "broken_off"
    write_json(folder / UNFINISHED, {"original_model": "RF", "unlearning_method": "sisa", "seed": 7})
    build_report(Layout(temp_data), None, 0.6)
    return Layout(temp_data).report / "report.html"


def test_the_page_is_whole_and_self_contained(report_page: Path) -> None:
    text = report_page.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    inside = [reference.strip("\"'#") for reference in page.references]
    assert all(reference.lstrip("\"'").startswith("#") for reference in page.references)
    assert set(inside) <= set(page.ids)
    assert "script" not in page.tags
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert text.count("<svg") >= 6
    assert "Deletions are visible (AUC above 0.55) in" in text
    assert "label only, adult / income" in text
    assert "placebo intervals that hold 0.5" in text
    assert "broken_off" in text


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_it_without_errors(report_page: Path, tmp_path: Path, width: int) -> None:
    """By a real browser: no console message, no figure or image that is missing, nothing that sticks out."""
    probe = (
        "<script>addEventListener('error', e => console.error('SCRIPT ' + e.message));"
        "addEventListener('load', () => { const bad = [...document.querySelectorAll('figure svg')].filter(s => {"
        "const r = s.getBoundingClientRect(); return r.width < 200 || r.height < 80; }).length;"
        "const images = [...document.images].filter(i => !i.naturalWidth).length;"
        "const wide = document.documentElement.scrollWidth - innerWidth;"
        "document.title = `figures ${document.querySelectorAll('figure svg').length} bad ${bad} images ${images} "
        "wide ${wide}`; });</script>"
    )
    page = tmp_path / "page.html"
    page.write_text(report_page.read_text(encoding="utf-8").replace("</head>", f"{probe}</head>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [
        str(chromium()),
        *flags,
        "--enable-logging=stderr",
        f"--window-size={width},900",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    found = re.search(r"<title>figures (\d+) bad (\d+) images (\d+) wide (-?\d+)</title>", done.stdout)
    assert found is not None
    figures, bad, images, wide = map(int, found.groups())
    assert figures >= 6
    assert (bad, images) == (0, 0)
    assert wide <= 0 or width < 500  # headless Chromium has no window narrower than 500


def test_equal_results_give_equal_files(tmp_path: Path, report_page: Path) -> None:
    again = tmp_path / "td"
    shutil.copytree(report_page.parents[2], again)
    build_report(Layout(again), None, 0.6)
    name = "figures/sisa.svg"
    assert (Layout(again).report / name).read_bytes() == (report_page.parent / name).read_bytes()
    assert (Layout(again).report / "report.html").read_bytes() == report_page.read_bytes()


def test_looks_tell_all_features_apart_and_know_those_from_elsewhere() -> None:
    looks = [style.look_of(name) for name in (*FEATURES, CHOSEN, "somebodys_attack", "another")]
    assert len({look.colour for look in looks}) == len(looks)
    assert style.look_of("somebodys_attack").label == "somebodys_attack"


def test_a_data_set_that_was_prepared_anew_has_a_panel_of_its_own(tmp_path: Path) -> None:
    """Runs on other records under the same name are no repetition, and never stand in one row with the first."""
    for seed in range(3):
        write_run(tmp_path, 2.0, f"--seed={seed}")
    runs = archive.read_runs(Layout(tmp_path).attack_data)
    digests = ["a", "b", "a"]
    sides = [{side: {"dataset_digest": name, "cache_version": 8} for side in ("shadow", "target")} for name in digests]
    apart = archive.combine_runs([replace(run, origin=origin) for run, origin in zip(runs, sides, strict=True)])
    found = panels(COMPARISONS["scratch"], apart)
    assert sorted(len(finding.seeds) for panel in found for _, finding in panel.points) == [1, 2]
    table = tables.short_markdown(found)
    assert table.count("scratch, seeds 0, 2") == table.count("scratch, seed 1") == 1


def test_an_attack_that_one_seed_alone_has_is_left_out_over_seeds(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, 2.0, f"--seed={seed}") for seed in range(2)]
    runs = archive.read_runs(Layout(tmp_path).attack_data)
    less = {name: found for name, found in runs[1].features.items() if name != "l2_distance"}
    (finding,) = archive.combine_runs([runs[0], replace(runs[1], features=less)])
    assert "l2_distance" not in finding.features
    assert all("auc" in found for found in finding.features.values())
    assert "l2_distance" in "\n".join(archive.seed_summary(folders))


def test_settings_are_compared_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, 2.0, f"--seed={seed}")
    for seed in range(2):
        write_run(tmp_path, 2.0, "--top_k=1", f"--seed={seed}")
    bare, defended = sorted(findings(tmp_path), key=lambda finding: -len(finding.seeds))
    shared = archive.over_common_seeds([bare, defended])
    assert [finding.seeds for finding in shared] == [[0, 1], [0, 1]]
    assert archive.paired_between(*shared).estimate.value == 0.0
    assert archive.paired_between(*shared).seeds == 2
    (panel,) = panels(COMPARISONS["defense"], findings(tmp_path))
    assert [len(finding.seeds) for _, finding in panel.points] == [3, 2]
    write_run(tmp_path, 2.0, "--top_k=0")
    found = panels(COMPARISONS["defense"], findings(tmp_path))
    shown = [
        [(value, finding.seeds) for value, finding in panel.points] for panel in COMPARISONS["defense"].shown(found)
    ]
    assert shown == [
        [("none", [0, 1]), ("top 1", [0, 1])],
        [("none", [0]), ("top 1", [0]), ("label only", [0])],
    ]


def test_settings_that_share_no_seed_are_not_compared(tmp_path: Path) -> None:
    write_run(tmp_path, 3.0)
    write_run(tmp_path, 0.0, "--top_k=0", "--seed=1")
    found = findings(tmp_path)
    assert "Publishing the label alone helps" not in [verdict.claim for verdict in claims.judge(found)]
    (panel,) = COMPARISONS["defense"].shown(panels(COMPARISONS["defense"], found))
    assert [finding.seeds for _, finding in panel.points] == [[0], [1]]
    build_report(Layout(tmp_path), None, 0.6)
    written = (Layout(tmp_path).report / "report.html").read_text()
    assert "defense that takes most off" not in written


def test_what_a_defense_takes_off_is_what_stands_beside_it(tmp_path: Path) -> None:
    for seed, strength in enumerate((1.0, 4.0)):
        write_run(tmp_path, strength, f"--seed={seed}")
    write_run(tmp_path, 0.0, "--top_k=0", "--seed=1")
    build_report(Layout(tmp_path), None, 0.6)
    written = (Layout(tmp_path).report / "report.html").read_text()
    card = re.search(r"(0\.\d\d|1\.00) to (0\.\d\d)\D*?defense that takes most off, (0\.\d{3})", written)
    assert card is not None
    assert float(card[1]) - float(card[2]) == pytest.approx(float(card[3]), abs=0.011)


def test_temperature_1_is_no_defense_and_networks_name_their_randomness(tmp_path: Path) -> None:
    for flags in ([], ["--temperature=1"], ["--original_model=LRTorch", "--num_epochs=3"]):
        write_run(tmp_path, 2.0, *flags)
    found = findings(tmp_path)
    assert not [verdict for verdict in claims.judge(found) if verdict.claim == "Temperature scaling helps"]
    assert "LRTorch, 3 epochs, matched" in tables.all_attacks(found)["target"].tolist()


def test_every_row_of_all_attacks_is_named_apart(tmp_path: Path) -> None:
    for number, some in enumerate(([], TODAY, ["--keep_models=none", *TODAY], ["--probes=100", *TODAY])):
        write_run(tmp_path, 1.0 + number / 10, *some)
    table = tables.all_attacks(findings(tmp_path))
    settings = table.drop(columns=["chosen, AUC", "classical, AUC", "seeds"])
    assert len(table) == 4
    assert not settings.duplicated().any()


@pytest.mark.parametrize(
    ("lows", "crossing", "told"),
    [
        ((0.7, 0.65), None, "all of them are shown not to"),
        ((0.58, 0.67), None, "10 is shown not to"),
        ((0.7, 0.5), 6, "fewer than 6 are shown not to"),
        ((0.5, 0.5), 1, ""),
    ],
)
def test_the_planner_says_of_which_sizes_intervals_show_it(lows: tuple, crossing: int | None, told: str) -> None:
    aucs = [Estimate(low + 0.05, low, low + 0.1, 0.02) for low in lows]
    assert tables._shown_not_to([1, 10], aucs, 0.6, crossing) == told


def test_own_tables_are_not_told_what_the_paper_says(tmp_path: Path) -> None:
    write_run(tmp_path, 2.0)
    (papers,) = findings(tmp_path)
    own = replace(papers, settings={**papers.settings, "dataset_name": "mine", "shadow_dataset_name": "mine"})
    comparison = COMPARISONS["scratch"]
    told = [
        page.Section("scratch", comparison, panels(comparison, found), [], [], 0.6).lesson
        for found in ([papers], [own], [papers, own])
    ]
    assert told == [comparison.lesson, "", f"{comparison.lesson} Own tables among these are not judged by it."]


def test_randomness_of_forests_is_named(tmp_path: Path) -> None:
    for number, kind in enumerate(("matched", "shared", "fresh")):
        write_run(tmp_path, 1.0 + number / 10, "--original_model=RF", f"--retrain_randomness={kind}")
    labels = {comparisons.model_label(finding.settings) for finding in findings(tmp_path)}
    assert labels == {"RF", "RF, shared", "RF, fresh"}
    settings = parse_settings(["--exp=mem_inf", "--original_model=RF", "--retrain_randomness=shared"])
    assert "scratch (shared)" in report.described_study("adult / income", settings)
