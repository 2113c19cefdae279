"""``dsct predict``: inputs, outputs, annotated copies."""
