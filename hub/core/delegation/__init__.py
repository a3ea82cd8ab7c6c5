"""How a goal is taken apart, checked, reviewed and put together again. Pure: `hub.delegations` does what is decided here."""
