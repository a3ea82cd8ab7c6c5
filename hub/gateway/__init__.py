"""The HTTP dialects that apps already speak, over the same dispatch as gRPC: no second queue, and no second scheduler."""
