"""The result of a prediction, under its public name: see :mod:`dsct.prediction.people`."""

from dsct.prediction.people import People, Person

__all__ = ["People", "Person"]
