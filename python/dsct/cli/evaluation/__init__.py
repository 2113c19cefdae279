"""``dsct eval``: protocols, tables, report."""
