"""Numeric core of CoW Landmarks: from an angiogram to the 19 landmarks of the Circle of Willis.

Research software; not a medical device.
"""

__version__ = "0.2.0.dev0"
"""The only place where the version is written; pyproject.toml reads it from here."""

PROGRAM = f"CoW Landmarks {__version__}"
"""How results, reports and models name the program that made them."""
