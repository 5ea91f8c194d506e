"""The families of the graded suite, one a file."""
