"""``dsct.predict(...)`` and ``import dsct.predict`` are one object: a module that is called like its function."""

import sys
from types import ModuleType
from typing import Any

from dsct.prediction.predictor import predict, predict_stream

__all__ = ["predict", "predict_stream"]

#: For `inspect.signature`.
__wrapped__ = predict


class _CalledLikePredict(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return predict(*arguments, **options)


sys.modules[__name__].__class__ = _CalledLikePredict
