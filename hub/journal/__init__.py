"""What is kept of delegations: how they stand, what happened, and every step that was done. Tokens never pass through it."""
