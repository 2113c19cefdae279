"""A plugin of pytest that records which tests run which lines of `dsct`, and how long each takes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest


class Contexts:
    """One of them is in each process of the tests."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.seconds: dict[str, float] = {}
        self.times = folder / f"seconds.{os.getpid()}.json"
        self.coverage = coverage.Coverage(
            data_file=str(folder / "lines"), data_suffix=True, source_pkgs=["dsct"], config_file=False
        )
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_unconfigure(self) -> None:
        self.coverage.stop()
        self.coverage.save()
        self.times.write_text(json.dumps(self.seconds))


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # not the process that only hands tests out
        config.pluginmanager.register(Contexts(Path(os.environ["MUTANTS_FOLDER"])), "contexts")
