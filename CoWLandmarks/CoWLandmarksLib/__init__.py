"""Numeric core of CoW Landmarks: from an angiogram to the 19 landmarks of the Circle of Willis.

Research software; not a medical device.
"""

__version__ = "0.1.0"
