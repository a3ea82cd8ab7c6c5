"""nginx as a gRPC proxy with mutual TLS on both legs: what a hop costs that does nothing but forward."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pki.identity import HUB_SERVER_NAME

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURATION: Final = """\
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    ssl_protocols TLSv1.3;
    # Whatever ends a connection now and then would be measured too.
    keepalive_requests 1000000;
    upstream engine {{
        server {upstream};
        keepalive 64;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {server};
        ssl_certificate_key {server};
        ssl_client_certificate {callers};
        ssl_verify_client on;
        ssl_verify_depth 2;
        http2_max_concurrent_streams 1024;
        client_max_body_size 16m;
        location / {{
            grpc_pass grpcs://engine;
            grpc_ssl_protocols TLSv1.3;
            grpc_ssl_certificate {client};
            grpc_ssl_certificate_key {client};
            grpc_ssl_trusted_certificate {anchors};
            grpc_ssl_verify on;
            grpc_ssl_verify_depth 2;
            grpc_ssl_name {name};
            grpc_read_timeout 600s;
        }}
    }}
}}
"""
SYSTEM_PLACE: Final = "/usr/sbin/nginx"
"""Where distributions put it, out of the path of those who are not root."""


@dataclass(frozen=True, slots=True)
class Legs:
    """Certificates: what nginx shows to its callers and trusts of them, and the same towards its upstream."""

    server: Path
    callers: Path
    client: Path
    anchors: Path


def program() -> str | None:
    """Say where nginx is, if it is installed and knows gRPC and HTTP/2."""
    found = shutil.which("nginx") or shutil.which(SYSTEM_PLACE)
    return found if found is not None and "http_v2_module" in _about(found, "-V") else None


def version() -> str:
    """Give its version; empty where it is not installed."""
    found = program()
    match = re.search(r"nginx/(\S+)", _about(found, "-v")) if found is not None else None
    return match[1] if match is not None else ""


def prepare(place: Path, port: int, upstream: str, legs: Legs) -> None:
    """Write what nginx needs into the new directory *place*."""
    (place / "temporary").mkdir(parents=True)
    text = CONFIGURATION.format(
        port=port,
        upstream=upstream,
        server=legs.server,
        callers=legs.callers,
        client=legs.client,
        anchors=legs.anchors,
        name=HUB_SERVER_NAME,
    )
    (place / "nginx.conf").write_text(text)


def _about(path: str, option: str) -> str:
    return subprocess.run((path, option), capture_output=True, text=True, check=True, timeout=10).stderr
