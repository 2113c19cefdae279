"""The demonstration as a program sees it: what it answers to an image."""

from __future__ import annotations

import base64
import io
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, features
from starlette.testclient import TestClient

import dsct
from dsct.demo import create_app, predictions, server, uploads
from dsct.demo.scenes import NUMBER_OF_SCENES, scene_png, scene_titles
from dsct.prediction.person_colors import PERSON_COLORS
from dsct.prediction.shipped_weights import SHIPPED_NOTE, SHIPPED_WEIGHTS
from tests.demo.client import HERE, encoded, noise, refusal


@pytest.fixture(scope="module")
def model() -> dsct.DSCT:
    return dsct.load_model(SHIPPED_WEIGHTS)


def test_the_answer_is_what_predict_finds(demo_client: TestClient, model: dsct.DSCT) -> None:
    answer = demo_client.post("/api/people", content=scene_png(4)).json()
    expected = dsct.predict(Image.open(io.BytesIO(scene_png(4))), model)
    assert len(expected) == 3
    assert (answer["width"], answer["height"], answer["note"]) == (480, 360, SHIPPED_NOTE)
    for found, person in zip(answer["people"], expected, strict=True):
        assert found["labels"] == list(person.labels)
        assert found["box"] == pytest.approx(person.box, abs=0.01)
        assert found["score"] == pytest.approx(person.score, abs=1e-5)
        assert found["probabilities"] == pytest.approx(person.probabilities, abs=1e-5)


def test_everyone_adds_people_of_low_score_and_changes_nobody_else(demo_client: TestClient) -> None:
    reported = demo_client.post("/api/people", content=scene_png(4)).json()["people"]
    everyone = demo_client.post("/api/people?everyone=1", content=scene_png(4)).json()["people"]
    assert len(everyone) > len(reported) == 3
    assert everyone[:3] == reported
    limit = demo_client.get("/api/about").json()["score_threshold"]
    assert [person["score"] >= limit for person in everyone] == [True] * 3 + [False] * (len(everyone) - 3)
    response = demo_client.post("/api/people?everyone=yes", content=scene_png(4))
    assert (response.status_code, response.json()) == (400, {"error": "everyone must be 0 or 1, got yes."})


def test_a_model_that_scores_by_logits_has_no_least_score() -> None:
    model = dsct.DSCT(dsct.DSCTConfig.tiny(score="logit", multi_label=True)).eval()
    with TestClient(create_app(model), base_url=HERE) as client:
        about = client.get("/api/about").json()
    assert (about["score_threshold"], about["multi_label"]) == (None, True)


def test_every_layer_says_where_the_model_looked(demo_client: TestClient, model: dsct.DSCT) -> None:
    config = model.config
    for person in demo_client.post("/api/people", content=scene_png(4)).json()["people"]:
        assert len(person["layers"]) == config.dec_layers
        for layer in person["layers"]:
            points = config.nheads * config.num_feature_levels * config.dec_n_points
            assert np.array(layer["sampling_points"]).shape == (points, 2)
            assert len(layer["sampling_weights"]) == points
            assert min(layer["sampling_weights"]) >= 0
            assert len(layer["reference_point"]) == 2
            chosen = len(layer["context_relation"])
            assert chosen > 0
            assert np.array(layer["context_points"]).shape == (chosen, 2)
            assert len(layer["context_weights"]) == chosen
            assert set(layer["context_relation"]) == {"spatial", "semantic"}


def test_no_person_is_an_answer_too(demo_client: TestClient) -> None:
    answer = demo_client.post("/api/people", content=encoded(Image.new("RGB", (64, 48), "white"))).json()
    assert answer["people"] == []


@pytest.mark.parametrize("form", uploads.FORMATS)
def test_every_form_of_image_is_taken(demo_client: TestClient, form: str) -> None:
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    response = demo_client.post("/api/people", content=encoded(noise(40, 30), form))
    assert (response.status_code, response.json()["width"]) == (200, 40)


def test_images_are_turned_upright_and_shown_as_the_model_saw_them(demo_client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    sideways = Image.new("RGB", (60, 40), "red")
    sideways.paste("blue", (0, 0, 60, 20))
    answer = demo_client.post("/api/people", content=encoded(sideways, "JPEG", exif=exif, quality=95)).json()
    assert (answer["width"], answer["height"]) == (40, 60)
    shown = shown_image(answer)
    assert shown.size == (40, 60)
    assert np.array(shown)[30, 5].argmax() == 0, "red is on the left"
    assert np.array(shown)[30, 35].argmax() == 2, "blue is on the right"
    assert not shown.getexif()


def shown_image(answer: dict[str, Any]) -> Image.Image:
    kind, _, data = answer["preview"].partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_large_images_are_shown_smaller_but_measured_in_their_own_pixels(demo_client: TestClient) -> None:
    answer = demo_client.post("/api/people", content=encoded(Image.new("RGB", (4000, 1000), "gray"))).json()
    assert (answer["width"], answer["height"]) == (4000, 1000)
    assert shown_image(answer).size == (predictions.SHOWN_SIDE, 400)


@pytest.mark.parametrize("size", [(1, 1), (30, 3000), (3000, 30)])
def test_odd_sizes_are_no_failure(demo_client: TestClient, size: tuple[int, int]) -> None:
    response = demo_client.post("/api/people", content=encoded(Image.new("RGB", size)))
    assert response.status_code == 200, response.text
    assert (response.json()["width"], response.json()["height"]) == size


def test_about_names_the_weights_the_limits_and_the_scenes(demo_client: TestClient) -> None:
    about = demo_client.get("/api/about").json()
    assert (about["model"], about["note"]) == ("tiny", SHIPPED_NOTE)
    assert (about["max_bytes"], about["max_pixels"]) == (20_000_000, 50_000_000)
    assert about["colors"] == list(PERSON_COLORS)
    assert [scene["title"] for scene in about["scenes"]] == scene_titles()
    images = {demo_client.get(scene["url"]).content for scene in about["scenes"]}
    assert len(images) == NUMBER_OF_SCENES
    assert all(Image.open(io.BytesIO(image)).format == "PNG" for image in images)


def test_own_weights_carry_no_note(model: dsct.DSCT) -> None:
    client = TestClient(create_app(model, name="own.safetensors"), base_url=HERE)
    assert client.get("/api/about").json()["note"] is None
    assert client.post("/api/people", content=encoded(noise(40, 30))).json()["note"] is None


@pytest.mark.parametrize("number", ["0" * 5000, "1" * 5000, "8", "-1", "00", "1.0", "%D9%A3", "x", "+1", "%20", "1%00"])
def test_only_the_scenes_have_numbers(demo_client: TestClient, number: str) -> None:
    response = demo_client.get(f"/scenes/{number}.png")
    assert (response.status_code, response.json()) == (404, {"error": "There are 8 scenes, from 0."})


@pytest.mark.parametrize("path", ["/scenes/8.png", "/scenes/-1.png", "/page/../server.py", "/page/absent.js", "/x"])
def test_what_is_not_there_is_said(demo_client: TestClient, path: str) -> None:
    response = demo_client.get(path)
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


def test_a_failure_of_the_model_is_said_without_its_details(
    demo_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(server, "look", fail)
    assert "the terminal that runs dsct demo says why" in refusal(demo_client, scene_png(0), 500)
    monkeypatch.undo()
    assert demo_client.post("/api/people", content=scene_png(0)).status_code == 200


def test_images_wait_for_each_other(demo_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0

    def look(*arguments: Any) -> dict[str, Any]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.05)
        inside -= 1
        return {"people": []}

    monkeypatch.setattr(server, "look", look)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: demo_client.post("/api/people", content=scene_png(0)), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert most == 1
