"""Existing PyTorch models: faster attention inside them, or a DSCT made of their weights."""
