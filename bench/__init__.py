"""What the mesh costs, measured: one file per question, run by `just bench NAME`."""

import os

# gRPC would tell of every process that is started beside it; it reads this when it is first imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
