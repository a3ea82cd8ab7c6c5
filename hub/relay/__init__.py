"""Live streams of spokes: who is connected, and the slots that carry work."""
