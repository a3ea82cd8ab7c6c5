"""Why this machine is not in the mesh: every refusal of TLS looks like a hub that is down, so the machine has to look itself."""
