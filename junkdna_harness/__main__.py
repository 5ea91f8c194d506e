"""`python -m junkdna_harness` is `junkdna`."""

from junkdna_harness.cli import main

if __name__ == "__main__":
    main()
