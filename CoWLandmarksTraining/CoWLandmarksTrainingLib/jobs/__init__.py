"""Trainings and other commands in child processes, attached or detached."""

THIRD_PARTY = ()
