"""The whole model as a file that runs without its Python code: ``torch.export``, ONNX, AOTInductor.

All take images and mask of any batch and size and return ``pred_logits`` and ``pred_boxes`` of the last decoder layer,
which :class:`dsct.PostProcess` turns into people. Class names, configuration and normalisation are in the file.
"""

from dsct.export.aot_inductor import to_aot_inductor
from dsct.export.exported_program import save_exported_program, to_exported_program
from dsct.export.onnx_file import to_onnx
from dsct.export.standard_operators import standard_operators

__all__ = ["save_exported_program", "standard_operators", "to_aot_inductor", "to_exported_program", "to_onnx"]
