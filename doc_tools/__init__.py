"""What keeps the documentation true: its site, its command blocks and the outputs that it shows. None of it is installed."""
