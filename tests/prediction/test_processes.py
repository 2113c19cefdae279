"""Predictions in other processes, however they were started; real ones, so that a hang is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: What each of the programs below begins with: a model, an image large enough for several threads, and a fork.
BEGIN = """
import os, pickle, sys, threading, warnings
import numpy as np, torch
import dsct

warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
torch.manual_seed(0)
model = dsct.DSCT(dsct.DSCTConfig.tiny())
image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)

def predict():
    people = dsct.predict(image, model, short_side=256, score_threshold=0.0, nms_iou=None)
    return people.boxes.tobytes(), people.probabilities.tobytes()

def operator():
    torch.manual_seed(1)
    value, points, weights = torch.randn(1, 4800, 8, 32), torch.rand(1, 4800, 8, 1, 4, 2), torch.rand(1, 4800, 8, 1, 4)
    return dsct.ops.ms_deform_attn(value, [(60, 80)], [0], points, weights).numpy().tobytes()

def train():
    torch.manual_seed(2)
    model.zero_grad()
    torch.nn.functional.conv2d(torch.ones(1, 64, 100, 100), torch.ones(64, 64, 3, 3))  # several threads for certain
    targets = [{"labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.5, 0.2, 0.4]])}] * 2
    criterion = dsct.SetCriterion(model.config)
    criterion.total(criterion(model(torch.randn(2, 3, 96, 96)), targets)).backward()
    return model.transformer.level_embed.grad.numpy().tobytes()

def load():
    data = dsct.data.SyntheticDataset("val", 4, image_size=(64, 48), transforms=dsct.data.evaluation_transform(None))
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork")
    return [images.numpy().tobytes() for images, _ in loader]

def in_child(work):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with open(write, "wb") as file:
            pickle.dump((work(), torch.get_num_threads()), file)
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        found = pickle.load(file)
    assert os.waitpid(child, 0)[1] == 0
    return found
"""

FORK = """
WORK = [predict, operator, train, load]
torch.set_num_threads(1)
expected = [work() for work in WORK]
torch.set_num_threads(2)
for work in WORK:
    work()
found = [in_child(work) for work in WORK]
print([result == wanted for (result, _), wanted in zip(found, expected)], {threads for _, threads in found})
print(in_child(lambda: in_child(predict)[0])[0] == expected[0], torch.get_num_threads())
"""


def output(program: str) -> list[str]:
    """What a program prints, line by line; two minutes are a hang."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_forked_child_computes_with_one_thread_what_its_parent_computes_with_one() -> None:
    assert output(BEGIN + FORK) == ["[True, True, True, True] {1}", "True 2"]


FORK_IN_THE_MIDDLE = """
expected = in_child(predict)[0]
inside, goes_on = threading.Event(), threading.Event()

def wait(*_):
    inside.set()
    goes_on.wait()

hook = model.backbone[0].register_forward_hook(wait)
thread = threading.Thread(target=predict)
thread.start()
inside.wait()
hook.remove()
print(in_child(predict)[0] == expected)
goes_on.set()
thread.join()
"""


def test_a_child_forked_while_the_model_runs_does_not_wait_for_the_thread_that_runs_it() -> None:
    assert output(BEGIN + FORK_IN_THE_MIDDLE) == ["True"]


SPAWN = '''
"""A program whose processes import it again."""
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np, torch
import dsct

OPTIONS = {"short_side": 64, "score_threshold": 0.0, "nms_iou": None}
IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)

def answer(questions, answers):
    predictor, model = questions.get()
    answers.put((predictor(IMAGE), dsct.predict(IMAGE, model, **OPTIONS), model.training))

def numbers(people):
    return people.boxes.tobytes(), people.probabilities.tobytes(), people.labels, people.note

if __name__ == "__main__":
    torch.set_num_threads(2)
    torch.ones(4000, 4000).add(1)  # the threads are there
    torch.set_num_threads(1)  # as in the children
    torch.manual_seed(0)
    model = dsct.DSCT(dsct.DSCTConfig.tiny(dropout=0.5)).train()
    predictor = dsct.Predictor(model, **OPTIONS)
    context = multiprocessing.get_context(sys.argv[1])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        (found,) = pool.map(predictor, [IMAGE])
        print(numbers(found) == numbers(predictor(IMAGE)))
    questions, answers = context.Queue(), context.Queue()
    child = context.Process(target=answer, args=(questions, answers), daemon=True)
    child.start()
    questions.put((predictor, model))
    by_predictor, by_model, training = answers.get(timeout=60)
    print(numbers(by_predictor) == numbers(by_model) == numbers(predictor(IMAGE)), training, model.training)
    child.join(60)
    print(child.exitcode)
'''


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_models_predictors_and_people_go_from_process_to_process(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SPAWN, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", program, method],
        capture_output=True, text=True, timeout=180, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True", "True", "True", "0"]), done.stderr
