"""What the mesh costs, measured: one file per question, run by `just bench NAME`."""
