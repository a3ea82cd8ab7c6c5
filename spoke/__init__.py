"""The spoke: engines, GPUs, and the connection that it keeps to the hub."""
