"""docs/workloads.md names what the code has."""

from pathlib import Path

from proxy.graph.faults import MEANINGS
from proxy.pipeline.outcome import SKIP_CAUSES

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_every_skip_cause_is_explained() -> None:
    text = (DOCS / "workloads.md").read_text(encoding="utf-8")
    for cause, meaning in SKIP_CAUSES.items():
        assert f"| `{cause}` | {meaning} |" in text


def test_every_fault_has_a_meaning_for_people() -> None:
    assert all(meaning and "http" not in meaning.lower() for meaning in MEANINGS.values())
