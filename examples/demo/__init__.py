"""A whole mesh on this machine: throw-away certificates, a hub, two spokes, real answers, and one spoke that dies."""
