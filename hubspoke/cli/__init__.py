"""The command `hubspoke`. Nothing heavy is imported before a command runs: `--help` has to be instant."""

from __future__ import annotations

from hubspoke.cli.lazy import LazyGroup, Row

COMMANDS = {
    "pki": Row("hubspoke.cli.pki", "Make the mesh's certificate authority, and exchange parts of it."),
    "token": Row("hubspoke.cli.token", "Make join tokens."),
    "join": Row("hubspoke.cli.join", "Get an identity on this machine with a join token."),
    "nodes": Row("hubspoke.cli.nodes", "Show who is in the mesh; approve, unlock, revoke."),
    "revoke": Row("hubspoke.cli.revoke", "End a node for good, at once."),
    "key": Row("hubspoke.cli.key", "Make and end API keys of the HTTP gateway."),
    "audit": Row("hubspoke.cli.audit", "Read the hub's audit log, and see whether it is whole."),
    "status": Row("hubspoke.cli.status", "Show the spokes: memory, models, slots."),
    "models": Row("hubspoke.cli.models", "List what can be asked, and where it runs."),
    "ps": Row("hubspoke.cli.ps", "Show what is in memory, where, and how busy it is."),
    "ask": Row("hubspoke.cli.ask", "Ask a model and stream its answer."),
    "chat": Row("hubspoke.cli.chat", "Talk with a model, turn by turn."),
    "delegate": Row(
        "hubspoke.cli.delegate", "Hand work over: many models do its parts, and it survives restarts."
    ),
    "batch": Row("hubspoke.cli.batch", "Do a file of prompts, as one job that survives restarts."),
    "delegations": Row("hubspoke.cli.delegations", "List, watch, end and decide about what was handed over."),
    "embed": Row("hubspoke.cli.embed", "Turn texts into vectors."),
    "pull": Row("hubspoke.cli.pull", "Get a model onto a spoke's disk."),
    "rm": Row("hubspoke.cli.rm", "Delete a model from the disks of spokes."),
    "load": Row("hubspoke.cli.load", "Bring a model into memory, and keep it there if you like."),
    "unload": Row("hubspoke.cli.unload", "Take a model out of memory."),
    "doctor": Row("hubspoke.cli.doctor", "Find out why this machine is not in the mesh, and what mends it."),
    "completion": Row("hubspoke.cli.completion", "Make your shell complete all of this."),
    "version": Row("hubspoke.cli.version", "Show what is installed."),
}

main = LazyGroup(
    name="hubspoke",
    rows=COMMANDS,
    help="A private AI mesh out of the GPUs you already own.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no hub reachable, 4 identity or certificate, "
    "5 the mesh is full now, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
