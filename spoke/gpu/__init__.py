"""The machine's cards and memory."""
