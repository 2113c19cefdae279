"""dsct (under construction)."""
