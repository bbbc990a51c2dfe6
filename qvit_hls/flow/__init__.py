"""Running things outside the package: tools, compilers, and writing the output folder."""
