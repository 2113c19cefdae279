"""Which images training sees, in which order and how often."""
