"""``python -m dsct``: the command line, also for ``torchrun -m dsct``."""

from dsct.cli import main

if __name__ == "__main__":
    main()
