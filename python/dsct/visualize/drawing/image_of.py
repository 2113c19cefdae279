"""The image of people, checked: boxes on another image would look like mistakes of the model."""

from __future__ import annotations

from PIL import Image

from dsct.data.image_io import ImageInput, load_image
from dsct.prediction.people import People


def image_of(people: People, image: ImageInput, op: str) -> Image.Image:
    """Reads `image`, in which `people` were found; messages begin with `op`.

    Raises:
        TypeError: `people` is not a `People`, or `image` has an unsupported type.
        ValueError: `image` has another size.
        OSError: `image` cannot be read.
    """
    if not isinstance(people, People):
        raise TypeError(f"{op}: people must be a dsct.People, the result for one image, got {type(people).__name__}")
    loaded = load_image(image)
    if loaded.size != tuple(people.image_size):
        found, got = (f"{width} x {height}" for width, height in (people.image_size, loaded.size))
        raise ValueError(f"{op}: image must have the size of that in which people were found, {found}, got {got}")
    return loaded
