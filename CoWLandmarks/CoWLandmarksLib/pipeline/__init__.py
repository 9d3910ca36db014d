"""One command from scan to result folder: read, detect, trace, deliver, for one scan or many."""

THIRD_PARTY = ("numpy",)
