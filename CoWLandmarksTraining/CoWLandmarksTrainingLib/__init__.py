"""Training of CoW Landmarks: synthetic and annotated cohorts, trainer, evaluation.

Research software; not a medical device.
"""
