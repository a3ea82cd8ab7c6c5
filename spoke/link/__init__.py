"""The spoke's connection to the mesh: sessions, heartbeats, slots."""
