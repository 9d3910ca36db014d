"""Small files that commands write and panels read, and the figures in them."""

THIRD_PARTY = ("numpy",)
