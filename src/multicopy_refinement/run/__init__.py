"""One refinement from files to files."""
