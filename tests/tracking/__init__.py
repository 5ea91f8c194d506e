"""What is logged to Weights & Biases, for real, into a folder of this machine."""
