"""What outlives the hub process."""
