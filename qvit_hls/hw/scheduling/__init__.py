"""From the integer graph to a program: one module per kind of layer, and the plan that they fill in."""
