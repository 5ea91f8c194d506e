"""Model wrappers for `lm_eval --model`."""
