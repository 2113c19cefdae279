"""What a check found, for tests to compare."""

from __future__ import annotations

from dsct.data.checks.check import CheckResult
from dsct.data.checks.findings import Finding


def kinds(result: CheckResult) -> dict[str, int]:
    """Findings and how often, without the classes that a handful of people cannot fill."""
    return {f.kind: f.count for f in result.findings if f.kind != "class without people"}


def find(result: CheckResult, kind: str) -> Finding:
    return next(finding for finding in result.findings if finding.kind == kind)
