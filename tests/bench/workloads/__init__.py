"""What both sides of a comparison compute."""
