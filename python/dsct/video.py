"""Video files, under their public name: see :mod:`dsct.prediction.video`."""

from dsct.prediction.video import VideoWriter, count_frames, frames, predict_frames

__all__ = ["VideoWriter", "count_frames", "frames", "predict_frames"]
