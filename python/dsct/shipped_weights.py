"""The weights that come with the package, under their public name: see :mod:`dsct.prediction.shipped_weights`."""

from dsct.prediction.shipped_weights import SHIPPED_NOTE, SHIPPED_WEIGHTS

__all__ = ["SHIPPED_NOTE", "SHIPPED_WEIGHTS"]
