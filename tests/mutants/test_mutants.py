"""The program that changes sources finds, samples and tries mutants as it says; small, without its libraries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant, Place, sample
from tests.mutants.trial import Outcome, Tree

ROOT = Path(__file__).parents[2]


def mutants(places: int) -> list[Mutant]:
    return [
        Mutant("a.py", Place(line, 0), Place(line, 1), change)
        for line in range(places)
        for change in ("Add_Sub", "AddNot")
    ]


class TestSample:
    def test_one_mutant_of_each_place(self) -> None:
        chosen = sample(mutants(50), 20, 0)
        assert len({mutant.start for mutant in chosen}) == 20
        assert {mutant.change for mutant in chosen} == {"Add_Sub", "AddNot"}

    def test_a_larger_one_begins_with_a_smaller_one(self) -> None:
        assert sample(mutants(50), 20, 0)[:10] == sample(mutants(50), 10, 0) != sample(mutants(50), 10, 1)

    def test_keys(self) -> None:
        one, other = mutants(1)
        assert one.key("x = 1") == one.key("x = 1")
        assert len({one.key("x = 1"), one.key("x = 2"), other.key("x = 1")}) == 3


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A project of one module and its tests, as a copy."""
    made = object.__new__(Tree)
    made.folder = tmp_path
    (tmp_path / "python").mkdir()
    (tmp_path / "python/shop.py").write_text("import time\n\n\ndef price(n):\n    return 2 * n\n")
    (tmp_path / "test_shop.py").write_text(
        "from shop import price\n\n\n"
        "def test_one():\n    assert price(0) == 0\n\n\n"
        "def test_two():\n    assert price(2) == 4\n"
    )
    return made


SECONDS = {"test_shop.py::test_one": 0.1, "test_shop.py::test_two": 0.1}
MUTANT = Mutant("python/shop.py", Place(5, 11), Place(5, 12), "NumberReplacer")


def try_out(tree: Tree, text: str, tests: list[str]) -> Outcome:
    before = tree.source(MUTANT)
    outcome = tree.try_out(MUTANT, text, [[test] for test in tests], SECONDS)
    assert tree.source(MUTANT) == before
    return outcome


class TestTrial:
    @pytest.mark.slow
    def test_a_failing_test_notices(self, tree: Tree) -> None:
        text = tree.source(MUTANT).replace("2 * n", "3 * n")
        outcome = try_out(tree, text, list(SECONDS))
        assert (outcome.noticed, outcome.tests) == (True, 2)
        assert "test_two" in outcome.by
        assert not try_out(tree, text, ["test_shop.py::test_one"]).noticed

    def test_what_does_not_compile_is_not_tested(self, tree: Tree) -> None:
        outcome = tree.try_out(MUTANT, "", [["test_shop.py::test_one"]], SECONDS, build=lambda: "does not compile")
        assert outcome.by == "does not compile"
        assert outcome.tests == 0


def test_survivors_have_reasons_and_are_there() -> None:
    for each in json.loads((ROOT / "tests/mutants/survivors.json").read_text()):
        assert each.keys() == {"file", "was", "became", "reason"}
        assert each["reason"].strip()
        lines = [line.strip() for line in (ROOT / each["file"]).read_text().splitlines()]
        assert "\n".join(lines).count(each["was"]) >= 1, each
        assert each["was"] != each["became"]
