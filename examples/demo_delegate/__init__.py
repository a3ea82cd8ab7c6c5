"""A goal over a folder of texts, handed over to a mesh whose hub is killed in the middle."""
