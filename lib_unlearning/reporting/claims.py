from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    claim: str
    verdict: str
    measured: str


def judge(findings):
    return []
