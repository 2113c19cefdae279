"""The documentation: nothing public is missing, links lead somewhere, Python in it is Python that runs."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

import dsct

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
WRITTEN = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tests/bench/README.md"]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"")
#: Made when the site is built.
BUILT = {"../rust/dsct/index.html"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code(page: Path, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_relative_links_and_anchors_lead_somewhere(page: Path) -> None:
    broken = []
    for target in (one or other for one, other in LINK.findall(prose(page))):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target) or target in BUILT:
            continue
        linked = page if not path else (page.parent / path).resolve()
        generated = (DOCS / "reference/python") in linked.parents
        found = linked.exists() or generated
        if not found or (anchor and linked.suffix == ".md" and anchor not in anchors(linked)):
            broken.append(target)
    assert not broken


def test_a_broken_link_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One heading\n[gone](gone.md) [here](#one-heading) [not here](#two)\n```sh\n# No heading\n```\n")
    with pytest.raises(AssertionError, match=r"gone\.md.*#two"):
        test_relative_links_and_anchors_lead_somewhere(page)


@pytest.mark.parametrize("page", [page for page in WRITTEN if code(page, "python")], ids=name_of)
def test_python_in_pages_compiles_and_names_exist(page: Path) -> None:
    for block in code(page, "python"):
        tree = ast.parse(block)
        compile(tree, str(page), "exec")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dsct"):
                exec(f"from {node.module} import {', '.join(alias.name for alias in node.names)}", {})
            if isinstance(node, ast.Attribute) and (dotted := ast.unparse(node)).startswith("dsct."):
                assert eval(dotted, {"dsct": dsct}) is not None


def test_the_readme_is_one_page() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 160
    assert [line for line in lines if len(line) > 120] == []


def test_one_page_says_what_has_not_run() -> None:
    said = re.compile(r"\bnever (been )?run\b|\bnot (been )?(run|reproduced|measured)\b|\buntested\b")
    pages = {name_of(page) for page in (*WRITTEN, ROOT / "CHANGELOG.md") if said.search(" ".join(prose(page).split()))}
    # That of the benchmarks is made of results: it says which of them there are.
    assert pages - {"tests/bench/README.md"} == {"docs/explanation/status.md"}


def test_the_training_step_runs() -> None:
    (block,) = code(DOCS / "how-to/pytorch.md", "python")
    exec(block, {})


def test_the_operator_alone_runs() -> None:
    blocks = [block for block in code(DOCS / "how-to/drop_in.md", "python") if "assert" in block]
    assert len(blocks) == 1
    exec(blocks[0], {})


def test_commands_in_pages_exist() -> None:
    from typer.main import get_command

    from dsct.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    used = {word for page in WRITTEN for block in code(page, "sh") for word in re.findall(r"\bdsct ([a-z]+)", block)}
    assert used
    assert used <= set(commands)


def test_links_to_names_lead_to_their_definition() -> None:
    targets = {target for page in PAGES for target in re.findall(r"\]\[(dsct[\w.]+)\]", prose(page))}
    assert targets
    assert all(pkgutil.resolve_name(target) is not None for target in targets)


def test_every_public_module_has_its_page() -> None:
    pytest.importorskip("griffe")
    pytest.importorskip("mkdocs")
    program = (
        "import sys; sys.path.insert(0, 'docs/hooks'); import python_reference as reference\n"
        "print(*(module.path for module in reference.public_modules(reference.package())))\n"
        "print(reference.navigation(reference.package()))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    listed, navigation = run.stdout.split("\n", 1)
    modules = {
        module.name
        for module in pkgutil.walk_packages(dsct.__path__, "dsct.")
        if not any(part.startswith("_") for part in module.name.split(".")) and not module.name.startswith("dsct.cli")
    }
    assert set(listed.split()) == modules | {"dsct"}
    for module in modules:
        path = "reference/python/" + module.removeprefix("dsct.").replace(".", "/")
        assert f"'{path}.md'" in navigation or f"'{path}/index.md'" in navigation


def test_figures_are_those_that_the_script_draws(tmp_path: Path) -> None:
    script = tmp_path / "draw.py"
    script.write_text((DOCS / "figures/draw.py").read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run([sys.executable, str(script)], check=True)
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.svg")}
    assert drawn == {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "figures").glob("*.svg")}


def test_the_figure_of_where_the_model_looked_is_the_one_that_the_example_draws(tmp_path: Path) -> None:
    drawn = tmp_path / "drawn.png"
    subprocess.run([sys.executable, str(ROOT / "examples/where_it_looked.py"), str(drawn)], check=True)
    images = [Image.open(path).convert("RGB") for path in (drawn, DOCS / "where_it_looked.png")]
    assert images[0].size == images[1].size
    assert drawn.stat().st_size < 150_000
    # Another version of matplotlib draws letters, and so the layout, a little differently: 3.10 and 3.11 differ by 6.6.
    assert ImageStat.Stat(ImageChops.difference(*images)).mean == pytest.approx([0, 0, 0], abs=10)


def tutorials() -> ModuleType:
    """The hook that makes pages of the notebooks."""
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("tutorials", DOCS / "hooks/tutorials.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    return hook


def test_notebook_pages_are_made_of_the_notebooks_as_they_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executed = tmp_path / "notebooks/01.ipynb"
    executed.parent.mkdir()
    executed.touch()
    monkeypatch.setenv("NOTEBOOKS", str(executed.parent))
    files: list[Any] = []
    tutorials().on_files(files, SimpleNamespace(site_dir="site", use_directory_urls=False))
    assert [(file.src_uri, file.abs_src_path) for file in files] == [("notebooks/01.ipynb", str(executed))]


def test_notebook_pages_fetch_no_script() -> None:
    hook = tutorials()
    kept = "<p>mathjax</p><script>copy()</script>"
    scripts = ['src="https://a.b/MathJax.js"> ', '>\nimport("mermaid")\n', 'src="">']
    html = kept + "".join(f"<script {script}</script>" for script in scripts)
    page = SimpleNamespace(file=SimpleNamespace(src_uri="notebooks/x.ipynb"))
    assert hook.on_page_content(html, page, None, None) == kept
    page.file.src_uri = "index.md"
    assert hook.on_page_content(html, page, None, None) == html
