"""Label Studio: JSON and JSON-MIN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsct.data.annotation_tools import read
from tests.data.annotation_tools.exports import people, read_people, told, write

SIZE = {"original_width": 200, "original_height": 100}


def rectangle(region: str, labels: list[str] | None = None, **value: Any) -> dict[str, Any]:
    box = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0} | value
    if labels is None:
        return {"id": region, "type": "rectangle", "from_name": "box", "value": box, **SIZE}
    return {
        "id": region,
        "type": "rectanglelabels",
        "from_name": "box",
        "value": box | {"rectanglelabels": labels},
        **SIZE,
    }


def choices(region: str, *chosen: str, name: str = "emotion") -> dict[str, Any]:
    box = rectangle(region)["value"]
    return {"id": region, "type": "choices", "from_name": name, "value": box | {"choices": list(chosen)}, **SIZE}


def export(tmp_path: Path, *results: dict[str, Any], image: str = "/data/upload/1/0a1b2c3d-a.png") -> Path:
    annotation = {"id": 1, "was_cancelled": False, "result": list(results)}
    return write(tmp_path / "export.json", [{"id": 7, "data": {"image": image}, "annotations": [annotation]}])


BOX = (20.0, 20.0, 80.0, 60.0)


class TestRegions:
    def test_percent_of_each_side(self, tmp_path: Path) -> None:
        assert read_people(export(tmp_path, rectangle("r", ["calm"])), multi_label=False) == [[(*BOX, "calm")]]
        raw = read(tmp_path / "export.json").people(None, multi_label=False)
        assert (raw.images[0].size, raw.certain_sizes) == ((200, 100), True)

    def test_choices_of_each_region_are_the_emotions(self, tmp_path: Path) -> None:
        path = export(
            tmp_path,
            rectangle("r", ["person"]),
            choices("r", "calm", "happy"),
            rectangle("s", ["person"], x=50),
            choices("s", "sad"),
        )
        assert read_people(path) == [[(*BOX, "calm", "happy"), (100.0, 20.0, 160.0, 60.0, "sad")]]

    def test_a_box_without_labels_of_its_own(self, tmp_path: Path) -> None:
        assert read_people(export(tmp_path, rectangle("r"), choices("r", "calm"))) == [[(*BOX, "calm")]]

    def test_choice_that_names_its_region_as_parent(self, tmp_path: Path) -> None:
        choice = {"id": "c", "parentID": "r", "type": "choices", "from_name": "emotion", "value": {"choices": ["calm"]}}
        assert read_people(export(tmp_path, rectangle("r", ["face"]), choice)) == [[(*BOX, "calm")]]

    def test_several_labels_of_a_box(self, tmp_path: Path) -> None:
        path = export(tmp_path, rectangle("r", ["calm", "happy"]))
        assert read_people(path) == [[(*BOX, "calm", "happy")]]
        with pytest.raises(ValueError, match=r"a person has the labels calm, happy; .*\(--multi-label\)"):
            read_people(path, multi_label=False)

    def test_age_gender_and_ratings_are_kept(self, tmp_path: Path) -> None:
        rating = {"id": "r", "type": "rating", "from_name": "valence", "value": rectangle("r")["value"] | {"rating": 4}}
        path = export(
            tmp_path, rectangle("r", ["person"]), choices("r", "calm"), choices("r", "Kid", name="age"), rating
        )
        (person,) = read(path).people(None, multi_label=True).images[0].people
        assert (dict(person.attributes), person.continuous and person.continuous[0]) == ({"age": "Kid"}, 4)

    def test_turned_about_its_upper_left_corner_in_pixels(self, tmp_path: Path) -> None:
        # 60 x 40 pixels at (20, 20), a quarter clockwise: the box hangs to the left of the corner.
        path = export(tmp_path, rectangle("r", ["calm"], rotation=90))
        assert read_people(path) == [[(-20.0, 20.0, 20.0, 80.0, "calm")]]
        assert told(path) == ([], ["turned box, upright rectangle around it taken"])

    def test_polygon_and_ellipse(self, tmp_path: Path) -> None:
        polygon = {"points": [[10, 20], [40, 20], [25, 60]], "closed": True, "polygonlabels": ["calm"]}
        ellipse = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20, "rotation": 0, "ellipselabels": ["sad"]}
        path = export(
            tmp_path,
            {"id": "p", "type": "polygonlabels", "from_name": "outline", "value": polygon, **SIZE},
            {"id": "e", "type": "ellipselabels", "from_name": "round", "value": ellipse, **SIZE},
        )
        assert read_people(path) == [[(20.0, 20.0, 80.0, 60.0, "calm"), (80.0, 30.0, 120.0, 70.0, "sad")]]

    def test_key_points_are_left_out_and_choices_of_the_image_are_told(self, tmp_path: Path) -> None:
        point = {
            "id": "k",
            "type": "keypointlabels",
            "from_name": "k",
            "value": {"x": 1, "y": 1, "width": 1, "keypointlabels": ["eye"]},
        }
        whole = {"id": "w", "type": "choices", "from_name": "scene", "value": {"choices": ["indoors"]}}
        path = export(tmp_path, rectangle("r", ["calm"]), point, whole)
        assert told(path) == (["region that is no box: keypoint"], ["label of a whole image not read"])


class TestTasks:
    def test_image_in_which_nobody_is(self, tmp_path: Path) -> None:
        assert read_people(export(tmp_path)) == [[]]
        assert told(tmp_path / "export.json") == ([], [])

    def test_cancelled_and_missing_annotations(self, tmp_path: Path) -> None:
        cancelled = {"was_cancelled": True, "result": [rectangle("r", ["calm"])]}
        tasks = [{"data": {"image": f"{n}.png"}, "annotations": some} for n, some in enumerate(([cancelled], []))]
        assert told(write(tmp_path / "a.json", tasks))[0] == ["image that nobody annotated"] * 2

    def test_the_latest_of_several(self, tmp_path: Path) -> None:
        given = [
            {"created_at": f"2026-01-0{day}", "result": [rectangle("r", [label])]}
            for day, label in ((2, "calm"), (3, "sad"), (1, "happy"))
        ]
        path = write(tmp_path / "a.json", [{"data": {"image": "a.png"}, "annotations": given}])
        assert read_people(path) == [[(*BOX, "sad")]]
        assert told(path)[1] == ["several annotations of an image, the latest taken"]
        given[2]["ground_truth"] = True
        assert read_people(write(path, [{"data": {"image": "a.png"}, "annotations": given}])) == [[(*BOX, "happy")]]

    @pytest.mark.parametrize(
        ("written", "names"),
        [
            ("/data/upload/1/0a1b2c3d-a.png", ["0a1b2c3d-a.png", "a.png", "upload/1/0a1b2c3d-a.png"]),
            ("/data/local-files/?d=set/a.png", ["set/a.png", "a.png"]),
            ("s3://bucket/set/a.png", ["set/a.png", "a.png"]),
            ("https://host/set/a%20b.png?X-Amz=1", ["set/a b.png", "a b.png"]),
            ("0a1b2c3d-.png", ["0a1b2c3d-.png", ".png"]),
        ],
    )
    def test_names_of_images(self, written: str, names: list[str], tmp_path: Path) -> None:
        raw = read(export(tmp_path, rectangle("r", ["calm"]), image=written)).people(None, multi_label=False)
        assert [raw.images[0].name, *raw.images[0].aliases] == names

    @pytest.mark.parametrize(
        ("task", "message"),
        [
            ({"data": {}, "annotations": []}, "task 0: the data must name an image, got nothing"),
            (
                {"id": 5, "data": {"image": "a.png"}, "annotations": [{"result": [rectangle("r", ["a"], x="left")]}]},
                "task 5: x must be a number, got 'left'",
            ),
            (
                {
                    "data": {"image": "a.png"},
                    "annotations": [{"result": [{"id": "r", "value": rectangle("r")["value"]}]}],
                },
                "original_width and original_height are missing",
            ),
        ],
    )
    def test_malformed_task_is_named(self, task: dict[str, Any], message: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=f"a.json: .*{message}"):
            read(write(tmp_path / "a.json", [task]))


class TestMinimal:
    """JSON-MIN, which writes a single choice without the box to which it belongs."""

    def test_boxes_with_labels(self, tmp_path: Path) -> None:
        task = {"image": "/data/upload/1/0a1b2c3d-a.png", "id": 1, "annotator": 1, "annotation_id": 2}
        boxes = [rectangle("r", ["calm"])["value"] | SIZE, rectangle("s", ["sad"], x=50)["value"] | SIZE]
        path = write(tmp_path / "min.json", [task | {"box": boxes}])
        assert read_people(path) == [[(*BOX, "calm"), (100.0, 20.0, 160.0, 60.0, "sad")]]

    def test_choices_that_kept_their_box(self, tmp_path: Path) -> None:
        task = {"image": "a.png", "box": [rectangle("r", ["person"])["value"] | SIZE]}
        task["emotion"] = [choices("r", "calm", "happy")["value"] | SIZE]
        assert read_people(write(tmp_path / "min.json", [task])) == [[(*BOX, "calm", "happy")]]

    def test_a_single_choice_belongs_to_a_single_box_only(self, tmp_path: Path) -> None:
        boxes = [rectangle("r", ["person"])["value"] | SIZE, rectangle("s", ["person"], x=50)["value"] | SIZE]
        task = {"image": "a.png", "box": boxes[:1], "emotion": "calm"}
        assert read_people(write(tmp_path / "min.json", [task])) == [[(*BOX, "calm")]]
        for lost in ("calm", ["calm", "sad"]):
            two = task | {"box": boxes, "emotion": lost}
            with pytest.raises(ValueError, match="does not say to which of 2 boxes emotion belongs; export as JSON"):
                read(write(tmp_path / "min.json", [two]))


def test_classes_of_another_file_number_the_labels(tmp_path: Path) -> None:
    export_ = read(export(tmp_path, rectangle("r", ["sad"])))
    raw = export_.people(("happy", "sad"), multi_label=False)
    assert (raw.images[0].people[0].labels, people(raw)[0][0][-1]) == ((1,), "sad")
    with pytest.raises(ValueError, match="label 'sad' is none of the classes happy"):
        export_.people(("happy",), multi_label=False)
