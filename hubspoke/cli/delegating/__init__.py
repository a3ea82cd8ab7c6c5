"""What `hubspoke delegate` and `hubspoke delegations` share."""
