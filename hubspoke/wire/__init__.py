"""The only place where wire messages become values and values become wire messages."""
