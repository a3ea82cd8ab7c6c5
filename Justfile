# Every recipe that a user or a developer needs. `./justw RECIPE` brings uv and just by itself.

set shell := ["sh", "-euc"]
set positional-arguments

export PATH := justfile_directory() / ".venv/bin" + ":" + env("PATH")
python_sources := "bench examples hub hubspoke pki spoke tests tools"

# List the recipes.
default:
    @just --list --unsorted

# Make .venv with everything that is pinned in uv.lock.
setup:
    @uv sync --locked --quiet

# Make the mesh's certificate authority (asks for a passphrase; see `hubspoke pki init --help`).
pki-init *args: setup
    @hubspoke pki init "$@"

# Run the hub.
hub *args: setup
    @hub-server "$@"

# Run a spoke.
spoke *args: setup
    @spoke-agent "$@"

# Show a whole mesh on this machine: throw-away certificates, a hub, two spokes, real answers.
demo *args: setup
    @python -m examples.demo "$@"

# Hand a goal over a folder of texts to a mesh, kill its hub in the middle, and count what was done.
demo-delegate *args: setup
    @python -m examples.demo_delegate "$@"

# Record `hubspoke chat` with the shipped models, for the docs.
record-chat: setup
    @python -m tools.record_chat

# Exchange the root of a mesh on this machine while it answers, phase by phase.
demo-rotation *args: setup
    @python -m examples.demo_rotation "$@"

# Run the tests, all of them in several processes; arguments go to pytest (`-n0` makes it one).
test *args: setup
    @pytest -n auto --dist worksteal "$@"

# Run the example programs and other vendors' clients against a mesh, and write docs/clients_matrix.md.
clients *args: node
    #!/bin/sh
    # CLIENTS names families of clients, with commas between them; `all` leaves out aider, which is heavy.
    set -eu
    export CLIENTS="${CLIENTS:-all}"
    python -m tools.vendors "$CLIENTS"
    pytest tests/clients "$@" || failed=$?
    python -m tests.clients.matrix
    exit "${failed:-0}"

# Bring Node and the packages of examples/node into build/, unless they are there.
node: setup
    @python tools/node.py

# Fuzz what reads and writes what others say: `just fuzz [TARGET [SECONDS]]`, else all targets for 60 s each.
fuzz *args: setup
    @python -m tools.fuzz "$@"

# Attack a running mesh in every way that is known, and print what refused each.
security *args: setup
    #!/bin/sh
    set -eu
    python -m tests.security.table --forget
    pytest -q tests/security "$@" || failed=$?
    python -m tests.security.table || failed=$?
    exit "${failed:-0}"

# What takes long about identity: a million inputs for everything that reads what strangers send.
security-long: setup
    python -m tools.parsers 1000000
    HUBSPOKE_STORMS=100 pytest -q tests/mesh/test_storm.py
    HUBSPOKE_NODES=60 pytest -q tests/mesh/test_rotation.py
    HUBSPOKE_KILL_STRIDE=1 pytest -q tests/mesh/test_rotation_killed.py

# Kill hubs and spokes that delegate: all cases, then what 200 seeds say; `just chaos-delegate 20` takes fewer.
chaos-delegate *args: setup
    mkdir -p build
    CHAOS_ALL=1 CHAOS_SEEDS="${1:-200}" CHAOS_FIGURES="${CHAOS_FIGURES:-build/chaos.jsonl}" pytest tests/chaos

# Kill until so many are dead, many in each of a few seeds, and count what was done twice; an hour for 1,000.
chaos-kills *args: setup
    mkdir -p build
    rm -f build/chaos-kills.jsonl
    CHAOS_ALL=1 CHAOS_DEEDS=12 CHAOS_SEEDS=$(( ${1:-1000} / 16 + 1 )) CHAOS_FIGURES=build/chaos-kills.jsonl pytest tests/chaos/test_k11_seeds.py

# Run the tests and say what they have not run through.
cover: setup
    pytest --cov --cov-report=term-missing:skip-covered --cov-report=html:build/coverage

# Generate hubspoke/api from protos/.
gen: setup
    python tools/generate.py

# Say whether hubspoke/api is what protos/ gives.
gen-check: setup
    python tools/generate.py --check

# Rewrite everything the way the formatters want it.
fmt: setup
    ruff format {{python_sources}}
    ruff check --fix {{python_sources}}
    buf format --write

# Check style, types, import rules and the contract.
lint: setup
    ruff format --check {{python_sources}}
    ruff check {{python_sources}}
    mypy
    lint-imports --config importlinter.toml
    buf lint
    buf format --diff --exit-code
    just proto-breaking

# Check that the contract breaks nobody who uses the last release.
proto-breaking: setup
    #!/bin/sh
    set -eu
    last=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)
    if [ -n "$last" ]; then
        buf breaking --against ".git#tag=$last"
    else
        echo "proto-breaking: no release tag yet, so there is nothing to break"
    fi

# Measure: `just bench relay`. Prints a table and writes build/bench/<name>.json.
bench name *args: setup
    #!/bin/sh
    set -eu
    name=$1; shift
    python -m "bench.$name" "$@"

# Build the wheel and the source distribution into dist/.
build: setup
    rm -rf dist
    uv build --quiet --out-dir dist

# Everything that CI checks.
ci: check test

# What CI checks beside the tests.
check: gen-check lint build wheel-check

# Install the built wheel into a clean virtual environment, and ask a mesh that runs from there.
wheel-check: setup
    python tools/wheel_check.py
