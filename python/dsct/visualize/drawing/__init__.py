"""The parts that figures share."""
