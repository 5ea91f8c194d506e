"""The Junk DNA Hypothesis put to the test on any language model, as plugins for lm-evaluation-harness."""

__version__ = "0.1.0"
