"""People drawn onto an image, under their public name: see :mod:`dsct.prediction.annotate`."""

from dsct.prediction.annotate import annotate

__all__ = ["annotate"]
