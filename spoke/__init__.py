"""The spoke: engines, GPUs, and the connection that it keeps to the hub."""

import os

# The agent starts a child for every model. gRPC's handlers for fork() abort such a child before it has become another
# program; this turns them off, and has to be said before gRPC is imported for the first time.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
