"""Simulating a project's RTL: benches, stimulus, and what comes back."""
