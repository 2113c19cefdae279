"""``dsct.predict(...)`` and ``import dsct.predict`` are one object: a module that is called like its function."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from dsct.prediction.predictor import predict, predict_stream

__all__ = ["predict", "predict_stream"]

#: For `inspect.signature`.
__wrapped__ = predict


class _CalledLikePredict(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return predict(*arguments, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        # Python pickles functions, which other processes need, but no modules.
        return import_module, (__name__,)


sys.modules[__name__].__class__ = _CalledLikePredict
