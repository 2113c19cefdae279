"""Video files, under their public name: see :mod:`dsct.prediction.video` and :mod:`dsct.prediction.predictor`."""

from dsct.prediction.predictor import predict_frames
from dsct.prediction.video import VideoWriter, count_frames, frames

__all__ = ["VideoWriter", "count_frames", "frames", "predict_frames"]
