"""From an image to people: sizes, coordinates, options, and what is left of the model afterwards."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError

import dsct
from dsct.checkpoint import save_model
from dsct.data.transforms import evaluation_transform
from dsct.prediction import shipped_weights
from dsct.prediction.people import People
from dsct.prediction.shipped_weights import SHIPPED_NOTE

Answer = tuple[list[float], list[float]]  # box as cxcywh in [0, 1], class probabilities


class Oracle(dsct.DSCT):
    """A model that keeps what it was given and answers the same for every image."""

    def __init__(self, answers: list[Answer], **overrides: Any) -> None:
        classes = len(answers[0][1])
        names = tuple(f"class {index}" for index in range(classes))
        super().__init__(dsct.DSCTConfig.tiny(num_classes=classes, class_names=names, **overrides))
        self.boxes = torch.tensor([box for box, _ in answers])
        self.logits = torch.tensor([probabilities for _, probabilities in answers]).logit()
        self.seen: list[torch.Tensor] = []
        self.modes: list[bool] = []

    def forward(self, images: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        self.seen.append(images)
        self.modes.append(self.training)
        batch = len(images)
        return {"pred_logits": self.logits.repeat(batch, 1, 1), "pred_boxes": self.boxes.repeat(batch, 1, 1)}


CENTER: Answer = ([0.5, 0.5, 0.5, 0.25], [0.9, 0.2, 0.1])
NEARLY_CENTER: Answer = ([0.5, 0.5, 0.48, 0.25], [0.1, 0.6, 0.1])
CORNER: Answer = ([0.0, 0.0, 0.2, 0.2], [0.3, 0.1, 0.9])
FAINT: Answer = ([0.8, 0.8, 0.1, 0.1], [0.1, 0.1, 0.1])
ALL = [NEARLY_CENTER, FAINT, CORNER, CENTER]


def noise(width: int, height: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tiny() -> dsct.DSCT:
    torch.manual_seed(0)
    return dsct.DSCT(dsct.DSCTConfig.tiny(class_names=None))


def assert_same(one: People, other: People) -> None:
    np.testing.assert_allclose(one.boxes, other.boxes, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-4, atol=1e-6)
    assert one.labels == other.labels


def test_boxes_are_pixels_of_the_original_clipped_to_it() -> None:
    people = dsct.predict(noise(200, 100), Oracle(ALL), short_side=50)
    assert people.image_size == (200, 100)
    np.testing.assert_allclose(people.boxes, [[0, 0, 20, 10], [50, 37.5, 150, 62.5]], atol=1e-4)
    assert people.boxes.dtype == people.scores.dtype == people.probabilities.dtype == np.float32


def test_rotated_photo_has_upright_coordinates(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown upright: 100 wide and 200 high
    path = tmp_path / "phone.jpg"
    Image.fromarray(noise(200, 100)).save(path, exif=exif)
    people = dsct.predict(path, Oracle([CENTER]))
    assert people.image_size == (100, 200)
    assert people.image_path == str(path)
    np.testing.assert_allclose(people.boxes, [[25, 75, 75, 125]], atol=1e-4)


def test_the_model_sees_what_evaluation_shows_it() -> None:
    model = Oracle([CENTER])
    image = noise(64, 48)
    dsct.predict(image, model)
    expected, _ = evaluation_transform()(Image.fromarray(image), {"boxes": torch.zeros(0, 4)})
    assert expected.shape == (3, 800, 1066)
    torch.testing.assert_close(model.seen[0], expected[None], rtol=0, atol=0)


def test_size_comes_from_the_call_else_from_the_weights() -> None:
    model = Oracle([CENTER])
    model.preprocess = {"short_side": 60, "long_side": 90}
    sizes: list[dict[str, int]] = [{}, {"short_side": 30}, {"long_side": 70}, {"short_side": 96, "long_side": 400}]
    for options in sizes:
        dsct.predict(noise(200, 100), model, **options)
    model.preprocess = {"short_side": None, "long_side": 90}
    dsct.predict(noise(200, 100), model)
    assert [tuple(images.shape[2:]) for images in model.seen] == [(45, 90), (30, 60), (35, 70), (96, 192), (100, 200)]


def test_one_report_per_person_most_certain_first() -> None:
    people = dsct.predict(noise(64, 48), Oracle(ALL))
    assert people.labels == [["class 2"], ["class 0"]]
    np.testing.assert_allclose(people.scores, [1.3 / 3, 1.2 / 3], rtol=1e-5)
    np.testing.assert_allclose(people.probabilities, [CORNER[1], CENTER[1]], rtol=1e-5)
    assert people.note is None


def test_duplicates_and_faint_people_on_request() -> None:
    def found(**options: Any) -> int:
        return len(dsct.predict(noise(64, 48), Oracle(ALL), short_side=48, **options))

    assert found(nms_iou=None) == 3
    assert found(nms_iou=None, score_threshold=0.0) == 4
    assert found(score_threshold=0.42) == 1
    assert found(score_threshold=0.99) == 0


def test_mean_of_logits_has_no_default_limit() -> None:
    assert len(dsct.predict(noise(64, 48), Oracle(ALL, score="logit"), short_side=48)) == 3


def test_thresholds_of_multi_label_models() -> None:
    model = Oracle([CENTER], multi_label=True)

    def labels(**options: Any) -> list[str]:
        (person,) = dsct.predict(noise(64, 48), model, short_side=48, **options)
        return list(person.labels)

    assert labels() == ["class 0"]
    assert labels(threshold=0.15) == ["class 0", "class 1"]
    assert labels(threshold=0.95) == []
    assert labels(threshold=[0.95, 0.15, 0.05]) == ["class 1", "class 2"]
    model.thresholds = [0.95, 0.95, 0.05]
    assert labels() == ["class 2"]
    assert labels(threshold=0.5) == ["class 0"]


def test_list_gives_what_single_calls_give(tiny: dsct.DSCT) -> None:
    images = [noise(64, 48, 1), noise(64, 48, 2), noise(48, 64, 3), Image.fromarray(noise(128, 96, 4))]
    options: dict[str, Any] = {"short_side": 64, "long_side": 200, "score_threshold": 0.0, "nms_iou": None}
    together = dsct.predict(images, tiny, **options)
    assert len(together) == 4
    for image, people in zip(images, together, strict=True):
        assert len(people) == tiny.config.num_subject_queries
        assert_same(people, dsct.predict(image, tiny, **options))


def test_neighbours_of_equal_size_run_together_and_nothing_is_padded() -> None:
    model = Oracle([CENTER])
    wide, tall = noise(64, 48), noise(48, 64)
    people = dsct.predict([wide, wide, wide, tall, wide], model, short_side=48, batch_size=2)
    assert [tuple(images.shape) for images in model.seen] == [
        (2, 3, 48, 64),
        (1, 3, 48, 64),
        (1, 3, 64, 48),
        (1, 3, 48, 64),
    ]
    assert [one.image_size for one in people] == [(64, 48)] * 3 + [(48, 64), (64, 48)]
    assert dsct.predict((), model) == []


def test_stream_gives_what_the_list_gives_and_reads_when_due(tiny: dsct.DSCT) -> None:
    images = [noise(64, 48, 1), noise(64, 48, 2), noise(48, 64, 3), noise(64, 48, 4), noise(64, 48, 5)]
    options: dict[str, Any] = {"short_side": 64, "long_side": 200, "score_threshold": 0.0}
    asked: list[int] = []

    def source() -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
        for number, image in enumerate(images):
            asked.append(number)
            yield image

    stream = dsct.predict_stream(source(), tiny, batch_size=2, **options)
    assert asked == []
    first = next(stream)
    assert asked == [0, 1]
    for people, expected in zip([first, *stream], dsct.predict(images, tiny, **options), strict=True):
        assert_same(people, expected)
        assert people.source is expected.source


def test_stream_leaves_what_cannot_be_read_out(tmp_path: Path) -> None:
    model = Oracle([CENTER])
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 and no more")
    images = [noise(64, 48), tmp_path / "broken.jpg", noise(9000, 1), tmp_path / "absent.jpg", noise(48, 64)]
    told: list[tuple[Any, str]] = []
    people = list(dsct.predict_stream(images, model, on_error=lambda source, error: told.append((source, str(error)))))
    assert [one.image_size for one in people] == [(64, 48), (48, 64)]
    assert [source for source, _ in told] == images[1:4]
    assert "cannot identify" in told[0][1]
    assert "too narrow" in told[1][1]
    assert "absent" in told[2][1]
    with pytest.raises(UnidentifiedImageError):
        list(dsct.predict_stream(images, model))


def test_stream_changes_nothing_between_two_results() -> None:
    model = Oracle([CENTER]).train()
    for _ in dsct.predict_stream([noise(64, 48)] * 2, model, short_side=48, batch_size=1):
        assert model.training
        assert torch.is_grad_enabled()
    assert model.modes == [False, False]


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"threshold": 2.0}, {"short_side": 0}, {"model": "nowhere"}])
def test_stream_rejects_before_the_first_image(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, OSError)):
        dsct.predict_stream([], **{"model": Oracle([CENTER], multi_label=True), **options})


def test_leaves_the_model_as_it_was() -> None:
    model = Oracle([CENTER]).train()
    frozen = next(module for module in model.children() if any(module.children()))
    frozen.eval()
    before = [module.training for module in model.modules()]
    dsct.predict(noise(64, 48), model, short_side=48)
    assert model.modes == [False]
    assert [module.training for module in model.modules()] == before
    assert True in before
    assert False in before


def test_needs_no_gradient_and_takes_the_dtype_of_the_model(tiny: dsct.DSCT) -> None:
    options: dict[str, Any] = {"short_side": 64, "score_threshold": 0.0}
    single = dsct.predict(noise(64, 48), tiny, **options)
    assert all(parameter.grad is None for parameter in tiny.parameters())
    double = dsct.predict(noise(64, 48), tiny.double(), **options)
    tiny.float()
    assert double.boxes.dtype == np.float32
    assert_same(single, double)


def test_model_from_a_file(tmp_path: Path, tiny: dsct.DSCT) -> None:
    path = tmp_path / "weights" / "model.safetensors"
    save_model(tiny, path)
    options: dict[str, Any] = {"short_side": 64, "long_side": 200, "score_threshold": 0.0}
    from_file = dsct.predict(noise(64, 48), path, **options)
    assert from_file.note is None
    assert_same(from_file, dsct.predict(noise(64, 48), tiny, **options))


def test_a_predictor_loads_its_model_once_and_gives_what_predict_gives(
    tmp_path: Path, tiny: dsct.DSCT, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tiny, tmp_path / "model.safetensors")
    load, loaded = shipped_weights.load_model, []
    monkeypatch.setattr(shipped_weights, "load_model", lambda *given: loaded.append(given) or load(*given))
    options: dict[str, Any] = {"short_side": 64, "long_side": 200, "score_threshold": 0.0}
    predictor = dsct.Predictor(tmp_path / "model.safetensors", **options)
    images = [noise(64, 48, 1), noise(48, 64, 2)]
    for people in ([predictor(image) for image in images], list(predictor.stream(images))):
        for one, image in zip(people, images, strict=True):
            assert_same(one, dsct.predict(image, tiny, **options))
    assert len(loaded) == 1


def test_people_know_the_query_that_found_them() -> None:
    assert dsct.predict(noise(64, 48), Oracle(ALL)).queries.tolist() == [2, 3]
    everybody = dsct.predict([noise(64, 48)] * 2, Oracle([FAINT] * 3), nms_iou=None, score_threshold=0.0)
    assert [people.queries.tolist() for people in everybody] == [[0, 1, 2]] * 2


def test_a_predictor_can_be_pickled_and_copied(tiny: dsct.DSCT) -> None:
    predictor = dsct.Predictor(tiny, short_side=64, score_threshold=0.0)
    image = noise(64, 48)
    expected = predictor(image).scores
    for other in (pickle.loads(pickle.dumps(predictor)), copy.deepcopy(predictor)):
        assert other(image).scores.tolist() == expected.tolist()


@pytest.mark.parametrize("one", [np.zeros((48, 64, 3), dtype=np.uint8), "image.png"], ids=["array", "path"])
def test_a_stream_of_one_image_is_refused(one: Any, tiny: dsct.DSCT) -> None:
    with pytest.raises(TypeError, match="stream: images must be several images, got one"):
        list(dsct.Predictor(tiny, short_side=64).stream(one))


def test_shipped_weights_say_what_they_are_once(
    tmp_path: Path, tiny: dsct.DSCT, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tiny, tmp_path / "tiny.safetensors")
    monkeypatch.setattr(shipped_weights, "SHIPPED_WEIGHTS", tmp_path / "tiny.safetensors")
    monkeypatch.setattr(shipped_weights, "_SHIPPED", {})
    with caplog.at_level(logging.WARNING, logger="dsct"):
        first, second = (dsct.predict(noise(64, 48), short_side=64, long_side=200) for _ in range(2))
    assert [record.getMessage() for record in caplog.records] == [SHIPPED_NOTE]
    assert first.note == second.note == SHIPPED_NOTE
    assert "synthetic scenes" in str(first)


def test_result_draws_itself() -> None:
    people = dsct.predict(noise(200, 100), Oracle(ALL), short_side=50)
    tags = [text.get_text() for text in people.plot().get_axes()[0].texts]
    assert tags == ["1 class 2", "2 class 0"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"short_side": 0}, ValueError, "short_side must be at least 1 pixel, got 0"),
        ({"short_side": 1400}, ValueError, "long_side must be greater than short_side, got 1333 and 1400"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"threshold": 1.5}, ValueError, "threshold"),
        ({"threshold": [0.5, 0.5]}, ValueError, "threshold"),
        ({"nms_iou": -0.1}, ValueError, "nms_iou"),
        ({"model": torch.nn.Linear(2, 2)}, TypeError, r"model must be a dsct\.DSCT, a path or None, got Linear"),
        ({"model": "nowhere.safetensors"}, FileNotFoundError, "nowhere"),
        ({"image": 3}, TypeError, "got int"),
        ({"image": noise(9000, 1)}, ValueError, "image of 9000 x 1 pixels is too narrow"),
        ({"image": torch.zeros(2, 3, 8, 8)}, ValueError, r"must be \(3, H, W\).*got \(2, 3, 8, 8\)"),
    ],
    ids=str,
)
def test_rejects(options: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"image": noise(64, 48), "model": Oracle([CENTER], multi_label=True), **options}
    with pytest.raises(error, match=message):
        dsct.predict(**given)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_error_comes_after_the_people_of_the_images_before_it(batch_size: int, tmp_path: Path) -> None:
    """As frames of a video do; four images are one batch, the broken one is in the middle of the next."""
    paths = [tmp_path / f"{number}.png" for number in range(7)]
    for path in paths:
        Image.new("RGB", (96, 64)).save(path)
    paths[5].write_bytes(b"broken")
    stream = dsct.predict_stream(paths, dsct.DSCT(dsct.DSCTConfig.tiny()), short_side=64, batch_size=batch_size)
    found: list[Any] = []
    with pytest.raises(OSError, match=r"5\.png"):
        found.extend(people.source for people in stream)
    assert found == paths[:5]
