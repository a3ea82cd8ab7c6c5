"""One module a proto service: thin edges over the rooms behind them."""
