"""What `make mutants` installs is not there for other tests."""

collect_ignore = ["__main__.py", "contexts.py", "covering.py", "python_mutants.py", "rust_mutants.py"]
