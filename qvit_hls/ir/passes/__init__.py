"""Passes: functions ``Graph -> Graph``, one per file; ``ir/pipeline.py`` puts them in order."""
