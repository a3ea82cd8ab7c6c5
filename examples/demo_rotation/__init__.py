"""A mesh on this machine whose root is exchanged while it answers."""
