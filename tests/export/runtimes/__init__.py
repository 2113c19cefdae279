"""A program outside the tests: the exported model in every runtime that could be had."""
