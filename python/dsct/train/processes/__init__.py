"""What several processes that train one model must have in common."""
