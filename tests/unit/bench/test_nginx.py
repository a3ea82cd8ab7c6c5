"""What nginx is told before it is measured."""

from pathlib import Path

from bench.nginx import Legs, prepare


def test_both_legs_are_verified(tmp_path):
    legs = Legs(Path("server.pem"), Path("callers.pem"), Path("client.pem"), Path("anchors.pem"))
    prepare(tmp_path / "nginx", 7010, "127.0.0.1:7001", legs)
    text = (tmp_path / "nginx" / "nginx.conf").read_text()
    for line in (
        "listen 127.0.0.1:7010 ssl http2;",
        "server 127.0.0.1:7001;",
        "ssl_verify_client on;",
        "ssl_client_certificate callers.pem;",
        "grpc_ssl_verify on;",
        "grpc_ssl_trusted_certificate anchors.pem;",
        "grpc_ssl_certificate client.pem;",
    ):
        assert line in text
