"""Benchmarks: how fast, and against what. `README.md` says what each program measures.

Every program first checks that both sides compute the same, then times them in pairs. They run from the root of the
repository, `python -m tests.bench` all those for the CPU; pytest never collects them.
"""
