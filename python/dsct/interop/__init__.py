"""Existing PyTorch models: faster attention inside them, or a DSCT with their weights."""

from dsct.interop import attention, deformable_detr, transformers

__all__ = ["attention", "deformable_detr", "transformers"]
