"""Trains a small DSCT on synthetic scenes, prints how good it is, and draws what it sees.

    python examples/demo.py                      # what `make demo` runs: 5 to 6 minutes on 2 cores
    python examples/demo.py --weights FILE       # also keeps the weights: this made the shipped ones

Two models are trained side by side, in the same way, from random weights: one with the paper's fusion of context into
subjects, one without. Both are evaluated on scenes that neither has seen. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import Dataset

import dsct
from dsct.data import evaluation_transform, flip_transform
from dsct.data.synthetic import FAR_ONLY_CLASSES, NEAR_ONLY_CLASSES, SyntheticDataset, best_guess
from dsct.data.transforms import LONG_SIDE
from dsct.metrics import Evaluation, Evaluator, evaluate
from dsct.train import TrainConfig, Trainer, seed_everything
from dsct.visualize import contact_sheet

IMAGE_SIZE = (128, 96)
FIGURE_SIZE = (320, 240)


def scenes(split: str, size: int, transforms: object, multi_label: bool = False) -> Dataset:
    """Scenes of one split, at the size that the small model is trained on."""
    return SyntheticDataset(split, size, multi_label=multi_label, image_size=IMAGE_SIZE, transforms=transforms)


def train(
    config: dsct.DSCTConfig, recipe: TrainConfig, sizes: tuple[int, int], run_dir: Path, visible: bool = True
) -> dsct.DSCT:
    """Trains from random weights and returns the model of the epoch that was best on validation scenes."""
    torch.set_num_threads(1)  # the model is too small to share a step among threads
    shutil.rmtree(run_dir, ignore_errors=True)  # of an earlier run
    seed_everything(recipe.seed)
    model = dsct.DSCT(config)
    model.preprocess = {"short_side": IMAGE_SIZE[1], "long_side": LONG_SIDE}
    trainer = Trainer(
        model,
        dsct.SetCriterion(config),
        dsct.PostProcess(config),
        scenes("train", sizes[0], flip_transform()),
        scenes("val", sizes[1], evaluation_transform(None)),
        recipe,
        run_dir,
        visible=visible,
    )
    trainer.fit()
    return dsct.load_model(run_dir / "best.safetensors")


def test(model: dsct.DSCT, size: int) -> Evaluation:
    """Evaluates on scenes of the test split."""
    evaluator = Evaluator(model.config.names, model.config.multi_label, labels="synthetic test")
    return evaluate(model, scenes("test", size, evaluation_transform(None)), dsct.PostProcess(model.config), evaluator)


def report(results: dict[str, Evaluation], console: Console) -> None:
    """One column per model, next to what guessing reaches."""
    first = next(iter(results.values()))["official"]
    shares = first.support / first.support.sum()
    table = Table("unseen scenes, official protocol", "chance", *results, title="what the small model learned")
    on = {"all classes": first.class_names, "near context decides": NEAR_ONLY_CLASSES, "far decides": FAR_ONLY_CLASSES}
    for name, classes in on.items():
        # Guessing: always the most frequent of these classes.
        chosen = np.array([label in classes for label in first.class_names])
        chance = shares[chosen].max() / shares[chosen].sum()
        values = (f"{result['official'].on(classes):.1%}" for result in results.values())
        table.add_row(f"accuracy, {name}", f"{chance:.1%}", *values)
    values = (f"{result['official'].mean_average_precision:.1%}" for result in results.values())
    table.add_row("mAP", f"{shares.mean():.1%}", *values)
    table.add_row("box recall at IoU 0.5", "", *(f"{result.box_recall:.1%}" for result in results.values()))
    console.print(table)
    rule = {name: float(best_guess(known)) for name, known in
            {"face": ("face",), "face + near": ("face", "near"), "face + far": ("face", "far")}.items()}  # fmt: skip
    known = ", ".join(f"{name} {value:.1%}" for name, value in rule.items())
    console.print(f"Best possible accuracy under the label rule if only a part is seen: {known}.")


def draw(model: dsct.DSCT, page: Path, count: int) -> None:
    """A page of unseen scenes and one photograph, with boxes and emotions; errors are marked."""
    unseen = SyntheticDataset("test", count, image_size=FIGURE_SIZE)
    items = []
    for index in range(count):
        image = unseen[index][0]
        items.append((image, dsct.predict(image, model), unseen.annotations(index)))
    try:
        from skimage.data import astronaut
    except ImportError:
        print("scikit-image is not installed: the page has no photograph")
    else:
        items.append((astronaut(), dsct.predict(astronaut(), model), None))
    contact_sheet(items, page)


def main() -> None:
    """The whole demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for logs, weights and the page")
    parser.add_argument("--weights", type=Path, help="also write the weights of the model with fusion here")
    parser.add_argument("--train-size", type=int, default=3000, help="training scenes")
    parser.add_argument("--test-size", type=int, default=500, help="test scenes")
    parser.add_argument("--epochs", type=int, default=7)
    options = parser.parse_args()

    begin, console = time.monotonic(), Console()
    recipe = TrainConfig.tiny(epochs=options.epochs)
    sizes = (options.train_size, min(200, options.test_size))
    console.rule("training, with and without fusion (progress: with)")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as beside:
        plain = dsct.DSCTConfig.tiny(fusion_layers=())
        other = beside.submit(train, plain, recipe, sizes, options.out / "fusion_off", visible=False)
        model = train(dsct.DSCTConfig.tiny(), recipe, sizes, options.out / "fusion_on")
        models = {"fusion on": model, "fusion off": other.result()}
    report({name: test(trained, options.test_size) for name, trained in models.items()}, console)
    page = options.out / "page.png"
    draw(model, page, count=11)
    console.print(f"annotated images: {page.resolve()}")
    if options.weights is not None:
        dsct.save_model(model, options.weights)
        console.print(f"weights: {options.weights}")
    console.print(f"{(time.monotonic() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
