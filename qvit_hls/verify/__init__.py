"""Proving a generated project equal to the golden integer graph, layer by layer."""
