"""Tasks: work that outlives the session in which it was given, and results that are kept until they are settled."""
