# Every recipe a user or developer needs. Start with `./justw` (it brings uv and just itself).
set shell := ["sh", "-euc"]

# List the recipes.
default:
    @just --list --unsorted
