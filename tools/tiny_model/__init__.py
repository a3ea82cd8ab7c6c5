"""Train, export and check the two little llamas that ship with the spoke."""
