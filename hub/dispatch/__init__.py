"""The journey of one request: admitted, placed, relayed, tried again, accounted for."""
