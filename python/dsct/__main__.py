"""``python -m dsct``: the command line, also for ``torchrun -m dsct``."""

from dsct.cli import app

if __name__ == "__main__":
    app(prog_name="dsct")
