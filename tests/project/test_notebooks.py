"""The notebooks: they run from top to bottom, offline and without a warning, and are stored without outputs."""

from __future__ import annotations

import os
import pkgutil
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

from dsct.prediction.shipped_weights import SHIPPED_NOTE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
#: As they ran, for the documentation: `make docs` shows these.
EXECUTED = ROOT / "target/notebooks"
NAMES = ("01_quickstart", "02_train_your_own", "03_deformable_attention", "04_drop_in_decoder",
         "05_what_context_adds", "06_ablation_grid")  # fmt: skip
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
#: No server answers here, so that a download fails at once.
NOWHERE = "http://127.0.0.1:9"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "http_proxy": NOWHERE,
           "https_proxy": NOWHERE}  # fmt: skip


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Runs every cell in `folder`, with the interpreter of this process, whatever kernels the machine knows."""
    manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(notebook, km=manager, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, **OFFLINE}, cleanup_kc=True)


def complaints(notebook: nbformat.NotebookNode) -> list[str]:
    """What was written to stderr, but for the note about the weights that come with dsct."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    written = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    return [text for text in (text.replace(SHIPPED_NOTE, "").strip() for text in written) if text]


def test_all_notebooks_are_here() -> None:
    assert tuple(path.stem for path in sorted(FOLDER.glob("*.ipynb"))) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_without_error_or_warning(name: str, tmp_path: Path) -> None:
    notebook = read(name)
    execute(notebook, tmp_path)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert complaints(notebook) == []
    assert list(tmp_path.iterdir()) == []
    EXECUTED.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, EXECUTED / f"{name}.ipynb")


def test_a_warning_and_an_error_would_be_seen(tmp_path: Path) -> None:
    cell = new_code_cell("import warnings\nwarnings.warn('careful')")
    notebook = new_notebook(cells=[cell], metadata=METADATA)
    execute(notebook, tmp_path)
    assert len(complaints(notebook)) == 1
    assert "careful" in complaints(notebook)[0]
    cell.source = "assert False, 'a claim that does not hold'"
    with pytest.raises(CellExecutionError, match="a claim that does not hold"):
        execute(notebook, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_without_outputs(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata == METADATA
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cell.id), f"{cell.id} says nothing about the cell"
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.id


@pytest.mark.parametrize("name", NAMES)
def test_every_code_cell_is_announced(name: str) -> None:
    cells = read(name).cells
    kinds = [cell.cell_type for cell in cells]
    assert kinds[0] == "markdown"
    unannounced = [cells[i].id for i in range(1, len(cells)) if kinds[i - 1 : i + 1] == ["code", "code"]]
    assert unannounced == []


@pytest.mark.parametrize("name", NAMES)
def test_names_in_the_text_exist(name: str) -> None:
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    for dotted in re.findall(r"\b(dsct(?:\.\w+)+)", text):
        assert pkgutil.resolve_name(dotted) is not None
    assert {*re.findall(r"`(\d\d_\w+)`", text)} <= {*NAMES}
