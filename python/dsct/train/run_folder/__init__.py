"""The folder of a run: who works in it, and what it holds."""
