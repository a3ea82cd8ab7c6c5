"""The hub: registry, scheduler, relay, and the two ports that it serves."""
