"""What an evaluation can say beside its scores: curves, calibration, groups of people, worst images, a table."""
