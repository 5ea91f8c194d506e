"""What compression changed in the model's predictions on a text: `junkdna fidelity`."""
