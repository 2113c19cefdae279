"""Readers of annotation files: COCO's JSON, CSV, MATLAB."""
