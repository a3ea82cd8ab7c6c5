"""Generated from protos/ by `just gen`; do not edit."""
