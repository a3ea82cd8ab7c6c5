"""Generate `hubspoke/api` from `protos`; with --check only say whether the committed code is what protos give."""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
API = Path("hubspoke") / "api"
HEADER = '"""Generated from protos/ by `just gen`; do not edit."""\n'


def main() -> int:
    """Write the generated code, or compare it, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when `just gen` would")
    if not parser.parse_args().check:
        shutil.rmtree(ROOT / API, ignore_errors=True)
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        stale = differences(Path(scratch) / API, ROOT / API)
    for path in stale:
        print(f"gen-check: {API / path} is not what protos/ gives; run `just gen`", file=sys.stderr)
    return 1 if stale else 0


def generate(target: Path) -> None:
    """Write the code of every proto below *target*, with typed stubs beside it."""
    every = sorted(PROTOS.rglob("*.proto"))
    # The gRPC plugins write an empty stub module for a file without a service, so they see only those with one.
    serving = [path for path in every if "\nservice " in path.read_text()]
    run_protoc(every, [f"--python_out={target}", f"--mypy_out={target}"])
    run_protoc(serving, [f"--grpc_python_out={target}", f"--mypy_grpc_out={target}"])
    for folder in [target / API, *(p for p in (target / API).rglob("*") if p.is_dir())]:
        (folder / "__init__.py").write_text(HEADER)


def run_protoc(sources: list[Path], outputs: list[str]) -> None:
    """Run the compiler that grpcio-tools carries; raise SystemExit when it refuses."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    names = [str(path.relative_to(PROTOS)) for path in sources]
    status = protoc.main(["protoc", f"-I{PROTOS}", f"-I{well_known}", *outputs, *names])
    if status != 0:
        raise SystemExit(f"gen: protoc failed with status {status}")


def differences(fresh: Path, committed: Path) -> list[Path]:
    """Name the files, relative to both folders, that differ or stand in one of them only."""
    names = {
        p.relative_to(folder)
        for folder in (fresh, committed)
        for p in folder.rglob("*.py*")
        if p.suffix != ".pyc"
    }
    return sorted(
        name
        for name in names
        if not ((fresh / name).is_file() and (committed / name).is_file())
        or not filecmp.cmp(fresh / name, committed / name, shallow=False)
    )


if __name__ == "__main__":
    raise SystemExit(main())
