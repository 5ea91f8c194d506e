"""Texts that models are calibrated on and measured on: reading them, and cutting them into the windows that a model sees."""
