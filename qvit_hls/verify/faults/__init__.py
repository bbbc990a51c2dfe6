"""Faults that the harness must catch: what each changes in a generated project, and where that must show."""
