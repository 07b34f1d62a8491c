"""Damaged files and kills: how often a run is right, refuses in one line, or is wrong (which must never be).

    python benchmarks/faults.py --flips 20 --kills 6

Every kind of file that a run reads is cut at ten lengths and has single bits flipped; the command that reads it must
give what it gave before, or refuse. And commands are killed (-9) at a random moment and run again: the results must be
those of a run that was left alone.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.processes import command

SIZES = [
    f"--{side}_{name}"
    for side in ("shadow", "target")
    for name in ("set_num=3", "set_size=300", "unlearning_size=5", "num_shard=3")
]
ATTACK = ["--exp", "mem_inf", "--quiet", *SIZES]
REPORT = ["--exp", "report", "--comparison", "scratch"]
NETWORK = ["--original_model", "LRTorch", "--num_epochs", "2"]


@dataclass(frozen=True)
class Kind:
    """One kind of file: where it lies, and the command that reads it with further flags."""

    name: str
    pattern: str
    reader: list[str]


KINDS = (
    Kind("trees", "target_models/*_DT_*/set_0001.models", ATTACK),
    Kind("networks", "target_models/*LRTorch*/set_0001.models", [*ATTACK, *NETWORK]),
    Kind("manifest of models", "target_models/*_DT_*/manifest.json", ATTACK),
    Kind("answers", "attack_data/posteriors/*DT*target*.npz", [*ATTACK, "--is_obtain_posterior", "false"]),
    Kind("split", "split_indices/*.npz", [*ATTACK, "--is_sample", "false"]),
    Kind("features", "processed_dataset/adult_income/features.npy", ATTACK),
    Kind("labels", "processed_dataset/adult_income/labels.npy", ATTACK),
    Kind("description of data", "processed_dataset/adult_income/dataset.json", ATTACK),
    Kind("results.json", "attack_data/*DT_scratch*/results.json", REPORT),
    Kind("scores.csv", "attack_data/*DT_scratch*/scores.csv", REPORT),
    Kind("settings.json", "attack_data/*DT_scratch*/settings.json", REPORT),
    Kind("digests.json", "attack_data/*DT_scratch*/digests.json", REPORT),
)
KILLED = {
    "DT": [],
    "RF": ["--original_model", "RF", "--shadow_set_num", "2", "--target_set_num", "2"],
    "SISA": ["--unlearning_method", "sisa"],
    "MLPTorch": ["--original_model", "MLPTorch", "--num_epochs", "2"],
    "LR, all attacks": ["--original_model", "LR", "--attacks", "all"],
}


def state(folder: Path, words: list[str]) -> tuple[str, str]:
    """What a command did, "right" (with what it gave), "refused" or "wrong"."""
    done = command("main.py", [*words, "--temp_data", str(folder)], folder)
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("INFO", "WARNING"))]
    if done.returncode == 2 and len(lines) == 1 and "error: " in lines[0]:
        return "refused", lines[0]
    if done.returncode or "Traceback" in done.stderr:
        return "wrong", done.stderr
    if any("is damaged" in line and line.startswith("WARNING") for line in done.stderr.splitlines()):
        return "refused", done.stderr  # the report goes on with the other runs, and says so
    tables = sorted(folder.glob("attack_data/*/results.csv")) + sorted(folder.glob("attack_data/report/tables/*.csv"))
    return "right", "".join(path.read_text(encoding="utf-8") for path in tables)


def damaged(content: bytes, number: int, chance: random.Random) -> bytes:
    """Content cut at one of ten lengths, or with a bit flipped."""
    if number < 10:
        return content[: len(content) * number // 10]
    changed = bytearray(content)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def try_files(flips: int) -> None:
    """Print a Markdown row a kind of file."""
    chance = random.Random(0)
    print("| file | tried | right | refused | wrong |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as kept:
        whole = Path(kept) / "whole"
        whole.mkdir()
        for more in ([], NETWORK):
            assert state(whole, [*ATTACK, *more, "--train_missing"])[0] == "right"
        for kind in KINDS:
            known = state(whole, kind.reader)
            assert known[0] == "right", known
            path = min(whole.glob(kind.pattern))
            content, seen = path.read_bytes(), Counter[str]()
            for number in range(10 + flips):
                path.write_bytes(damaged(content, number, chance))
                found, told = state(whole, kind.reader)
                if found == "right" and told != known[1]:
                    found = "wrong"
                seen[found] += 1
                if found == "wrong":
                    print(f"{kind.name}, {number}: {told[-300:]}", file=sys.stderr)
                path.write_bytes(content)
            again = state(whole, kind.reader)
            assert again == known, (kind.name, again[0], again[1][-300:])
            counts = [seen.total(), *(seen[name] for name in ("right", "refused", "wrong"))]
            print(f"| {kind.name} | {' | '.join(map(str, counts))} |", flush=True)


def try_kills(kills: int) -> None:
    """Print a Markdown row a kind of run."""
    chance = random.Random(0)
    print("\n| run | kills | right afterwards | wrong |\n|---|---|---|---|")
    for name, flags in KILLED.items():
        words = [*ATTACK, "--train_missing", *flags, "--num_process", "2"]
        with tempfile.TemporaryDirectory() as kept:
            start = time.monotonic()
            alone = _run_whole(Path(kept) / "alone", words)
            whole, seen = time.monotonic() - start, Counter[bool]()
            for number in range(kills):
                folder = Path(kept) / f"killed{number}"
                folder.mkdir()
                process = subprocess.Popen(
                    [sys.executable, str(PROJECT / "main.py"), *words, "--temp_data", str(folder)],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                time.sleep(chance.uniform(0.2, 1.0) * whole)
                process.kill()
                process.wait()
                seen[_run_whole(folder, words) == alone] += 1
                shutil.rmtree(folder)
        print(f"| {name} | {kills} | {seen[True]} | {seen[False]} |", flush=True)


def _run_whole(folder: Path, words: list[str]) -> str:
    folder.mkdir(exist_ok=True)
    found, told = state(folder, words)
    assert found == "right", told
    return told


def main() -> None:
    """Try files, then kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=20, help="single bits a kind of file, beside ten lengths")
    parser.add_argument("--kills", type=int, default=6, help="of each kind of run")
    arguments = parser.parse_args()
    try_files(arguments.flips)
    try_kills(arguments.kills)


if __name__ == "__main__":
    main()
