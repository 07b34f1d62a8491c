"""Audit packs: one zip from which every number of an audit can be computed again, without any model or record."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.attack import CLASS_ORDER, CLASSES, NUMBERS, POSTERIORS, FeatureAttack, View, paper_attacks
from lib_unlearning.attacks.choice import chosen_attack, cross_fitted_scores
from lib_unlearning.attacks.registry import TODAY
from lib_unlearning.audit.answers_file import first_choice
from lib_unlearning.audit.dossier import Dossier, plain, versions
from lib_unlearning.audit.evidence import Attacked, Evidence, Options, same_cases
from lib_unlearning.audit.examine import conclude
from lib_unlearning.audit.page import render
from lib_unlearning.cache.files import atomic_file, check_regular, check_writable
from lib_unlearning.construct_feature import FEATURES
from lib_unlearning.errors import UNREADABLE, UserError, error_text
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.record_split import SIDES

_SETTINGS, _VERDICT, _ANSWERS, _REPORT, _SCORES = (
    "settings.json",
    "verdict.json",
    "answers.npz",
    "report.html",
    "scores.csv",
)
_PARTS = (_SETTINGS, _VERDICT, _ANSWERS, _REPORT, _SCORES)
_MANIFEST = "manifest.json"
_SETTING_NAMES = ("title", "settings", "options", "digests", "versions", "made", "command", "notes", "chosen")
# Of a pack's arrays: what cases are, and what attacks made of them.
_ARRAY = re.compile(
    rf"(cases|retrained)/({'|'.join(SIDES)})/({'|'.join(part.name for part in dataclasses.fields(PosteriorSet))})\.npy"
    r"|(found|other)/(scores|tried)/[^/]+\.npy"
)
_MOST_BYTES = 4 * 2**30
_CLOSE = 1e-6


def check_place(path: Path) -> None:
    """Raise `UserError` where a pack could not be written, or would take the place of something that is none."""
    check_writable(path)
    if path.exists() and not _is_pack(path):
        raise UserError(f"{path} is there, and no audit pack; name another place")


def _is_pack(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) == {*_PARTS, _MANIFEST}
    except UNREADABLE:
        return False


def write_pack(dossier: Dossier, path: Path) -> Path:
    """Write an audit as one zip: settings, versions, answers, scores, verdict, report; no record's features or name."""
    import hashlib

    check_place(path)
    parts = {
        _SETTINGS: _json(
            {
                "title": dossier.title,
                "settings": plain(dossier.settings),
                "options": plain(dossier.options),
                "digests": dossier.digests,
                "versions": dossier.versions,
                "made": dossier.made,
                "command": dossier.command,
                "notes": dossier.notes,
                "chosen": [part.chosen for part in (dossier.evidence.found, dossier.evidence.other) if part],
            }
        ),
        _VERDICT: _json(dossier.verdict()),
        _ANSWERS: _arrays(dossier.evidence),
        _REPORT: render(dossier, show_ids=False).encode(),
        _SCORES: _scores(dossier).encode(),
    }
    manifest = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    with atomic_file(path) as handle, zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**parts, _MANIFEST: _json(manifest)}.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def _json(value: Any) -> bytes:
    return (json.dumps(plain(value), indent=2, sort_keys=True, allow_nan=False, default=str) + "\n").encode()


def _arrays(evidence: Evidence) -> bytes:
    arrays: dict[str, np.ndarray] = {}
    for prefix, sides in (("cases", evidence.cases), ("retrained", evidence.retrained)):
        for side, cases in (sides or {}).items():
            arrays |= {f"{prefix}/{side}/{name}": values for name, values in vars(cases).items()}
    for prefix, found in (("found", evidence.found), ("other", evidence.other)):
        if found is not None:
            arrays |= {f"{prefix}/scores/{name}": values for name, values in found.scores.items()}
            arrays |= {f"{prefix}/tried/{name}": values for name, values in found.tried.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _scores(dossier: Dossier) -> str:
    cases, found = dossier.evidence.cases["target"], dossier.examination
    rows = zip(cases.set, cases.request, cases.member, found.scores.round(6), found.exposed.astype(int), strict=True)
    return "set,request,deleted,score,exposed\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows)


# ---------------------------------------------------------------- verification


@dataclasses.dataclass(frozen=True)
class Verification:
    """Whether a pack's numbers follow from its answers: what does not agree, and what could not be done again."""

    complaints: list[str]
    notes: list[str]
    checked: int

    @property
    def agrees(self) -> bool:
        """Whether nothing disagrees."""
        return not self.complaints


def verify_pack(path: Path) -> Verification:
    """Compute every number of a pack again; raises `UserError` when it is no pack, or damaged."""
    parts = _read(path)
    settings, stated = (_parsed(parts[name], name, path) for name in (_SETTINGS, _VERDICT))
    try:
        return _verified(parts, settings, stated)
    except MemoryError:
        raise UserError(f"{path}: its arrays say that they hold more than memory does") from None
    except UNREADABLE as error:  # whoever wrote the manifest anew may have written anything
        raise UserError(f"{path}: its parts are not those of an audit ({error_text(error)})") from error


def _verified(parts: dict[str, bytes], settings: dict[str, Any], stated: dict[str, Any]) -> Verification:
    if settings.keys() != set(_SETTING_NAMES):
        raise ValueError(f"{_SETTINGS} holds other names")
    evidence = _evidence(parts[_ANSWERS], settings["chosen"])
    options = Options(**settings["options"])
    dossier = Dossier(
        settings["title"],
        settings["settings"],
        settings["digests"],
        evidence,
        options,
        conclude(evidence, options),
        np.array([]),
        settings["notes"],
        settings["versions"],
        settings["made"],
        settings["command"],
    )
    complaints = _forms(parts, settings, stated)
    counted = _compare(json.loads(_json(dossier.verdict())), stated, "verdict", complaints)
    again, notes = _attacked_again(evidence, options, by_files=settings["settings"].get("before") is not None)
    complaints += again
    if dossier.versions != versions():
        notes.append(f"made with {dossier.versions}, verified with {versions()}")
    if parts[_REPORT] != render(dossier, show_ids=False).encode():
        complaints.append(f"{_REPORT} is not the page of these numbers")
    if parts[_SCORES] != _scores(dossier).encode():
        complaints.append(f"{_SCORES} does not hold the scores of these answers")
    return Verification(complaints, notes, counted)


def _forms(parts: dict[str, bytes], settings: dict[str, Any], stated: dict[str, Any]) -> list[str]:
    """Complaints of JSON that says something twice, or in another form than ours."""
    read = ((_SETTINGS, settings), (_VERDICT, stated))
    return [f"{name} is not in the form that packs have" for name, found in read if parts[name] != _json(found)]


def _read(path: Path) -> dict[str, bytes]:
    import hashlib

    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            sizes = [(info.filename, info.file_size) for info in archive.infolist()]
            if sorted(name for name, _ in sizes) != sorted([*_PARTS, _MANIFEST]) or _too_large(sizes):
                raise UserError(f"{path}: not an audit pack")
            parts = {name: archive.read(name) for name, _ in sizes}
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read as an audit pack ({error_text(error)})") from error
    manifest = _parsed(parts.pop(_MANIFEST), _MANIFEST, path)
    for name, content in parts.items():
        if manifest.get(name) != hashlib.sha256(content).hexdigest():
            raise UserError(f"{path}: {name} was changed or damaged (its digest differs)")
    return parts


def _too_large(sizes: Iterable[tuple[str, int]]) -> bool:
    return sum(size for _, size in sizes) > _MOST_BYTES


def _parsed(content: bytes, name: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {name} cannot be read ({error_text(error)})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: {name} is not what an audit pack holds")
    return found


def _evidence(content: bytes, chosen: list[str]) -> Evidence:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sizes = [(info.filename, info.file_size) for info in archive.infolist()]
    strange = [name for name, _ in sizes if not _ARRAY.fullmatch(name)]
    if strange or _too_large(sizes) or len(dict(sizes)) < len(sizes):
        raise ValueError(f"{_ANSWERS} holds {strange[0] if strange else 'more than an audit'}")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}

    def sides(prefix: str) -> dict[str, PosteriorSet]:
        names = [field.name for field in dataclasses.fields(PosteriorSet)]
        return {side: PosteriorSet(**{name: arrays[f"{prefix}/{side}/{name}"] for name in names}) for side in SIDES}

    def attacked(prefix: str, chosen: str) -> Attacked:
        kinds = [
            {name.split("/", 2)[2]: values for name, values in arrays.items() if name.startswith(f"{prefix}/{kind}/")}
            for kind in ("scores", "tried")
        ]
        return Attacked(kinds[0], kinds[1], chosen)

    compared = any(name.startswith("retrained/") for name in arrays)
    return Evidence(
        sides("cases"),
        attacked("found", chosen[0]),
        sides("retrained") if compared else None,
        attacked("other", chosen[1]) if compared else None,
    )


def _compare(found: Any, stated: Any, place: str, complaints: list[str]) -> int:
    """Numbers and words that are equal on both sides; what is not is complained of."""
    if isinstance(found, dict) and isinstance(stated, dict) and found.keys() == stated.keys():
        return sum(_compare(found[name], stated[name], f"{place}.{name}", complaints) for name in found)
    if isinstance(found, list) and isinstance(stated, list) and len(found) == len(stated):
        return sum(
            _compare(*pair, f"{place}[{i}]", complaints) for i, pair in enumerate(zip(found, stated, strict=True))
        )
    both = [isinstance(part, int | float) and not isinstance(part, bool) for part in (found, stated)]
    if isinstance(found, bool) != isinstance(stated, bool) or (
        found != stated and not (all(both) and abs(found - stated) <= _CLOSE)
    ):
        complaints.append(f"{place}: {stated!r} is stated, {found!r} follows from the answers")
    return 1


def _attacked_again(evidence: Evidence, options: Options, by_files: bool) -> tuple[list[str], list[str]]:
    """Fit the attacks again that look at nothing but the answers, and choose again, on either side of a comparison.

    An audit `by_files` has no other attacks, and none has attacks that are not known here.
    """
    complaints: list[str] = []
    left: set[str] = set()
    for what, cases, found in (
        ("", evidence.cases, evidence.found),
        ("retrained: ", evidence.retrained, evidence.other),
    ):
        if cases is None or found is None:
            continue
        alone = same_cases(cases)
        kinds = {NUMBERS} if cases["target"].original.shape[1] == 1 else {CLASSES, CLASS_ORDER}
        views = {side: View(part, frozenset({POSTERIORS} | kinds)) for side, part in cases.items()}
        for name in paper_attacks(views["shadow"], options.attack_model).keys() - found.scores.keys():
            complaints.append(f"{what}{name} is missing, which looks at answers alone")
        for name in found.scores:
            if name not in FEATURES:
                left.add(name)
                if by_files or name not in TODAY:
                    complaints.append(f"{what}{name} is no attack that such an audit has")
                continue
            attack = FeatureAttack(name, options.attack_model)
            tried = cross_fitted_scores(attack, views["shadow"], options.seed)
            scores = tried if alone else attack.fit(views["shadow"], options.seed).score(views["target"])
            for kind, again, stated in (("", scores, found.scores), ("cross-fitted ", tried, found.tried)):
                if not (np.abs(again - stated[name]) <= _CLOSE).all():
                    complaints.append(f"{what}{kind}scores of {name} do not follow from the answers")
        chosen = first_choice(found.scores) if alone else chosen_attack(found.tried, views["shadow"])
        if found.chosen != chosen:
            complaints.append(f"{what}{found.chosen} is not the attack that the shadow side chooses, {chosen} is")
    notes = [f"not attacked again, as that needs models or records: {', '.join(sorted(left))}"] if left else []
    return complaints, notes
