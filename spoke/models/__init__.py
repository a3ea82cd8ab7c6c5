"""The model files of this machine."""
