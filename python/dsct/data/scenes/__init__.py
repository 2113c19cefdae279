"""The synthetic scenes: the label rule and the drawing."""
