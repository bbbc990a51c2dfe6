"""The command line: one small module per verb, and no logic."""
