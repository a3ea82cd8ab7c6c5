"""The audit log as a file: what a line holds, how lines are chained, and where they lie. The hub writes it."""
