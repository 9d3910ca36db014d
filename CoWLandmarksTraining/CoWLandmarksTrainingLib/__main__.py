"""`python -m CoWLandmarksTrainingLib`: the command line `cowlandmarks-train`."""

import sys

from .cli.training_program import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
