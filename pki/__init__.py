"""Certificates and nothing else: who is who in the mesh, who vouches for it, and for how long."""
