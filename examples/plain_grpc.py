"""Ask a model with gRPC and the generated code alone: python plain_grpc.py MODEL "Why is the sky blue?"."""

import json
import sys
from pathlib import Path

import grpc

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.inference.v1.inference_pb2_grpc import InferenceServiceStub

model, question = sys.argv[1:]
home = Path.home() / ".config" / "hubspoke"
identity = (home / "identity.pem").read_bytes()
address = json.loads((home / "hub.json").read_text())["mesh"][0]

credentials = grpc.ssl_channel_credentials(
    root_certificates=(home / "anchors.pem").read_bytes(),
    private_key=identity,
    certificate_chain=identity,
)
options = [
    ("grpc.ssl_target_name_override", "hub.hubspoke.internal"),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
]

with grpc.secure_channel(address, credentials, options) as channel:
    turn = pb.Message(speaker=pb.SPEAKER_USER, text=question)
    request = pb.InferRequest(model=model, conversation=pb.Conversation(messages=[turn]))
    try:
        for response in InferenceServiceStub(channel).Infer(request, timeout=60):
            print(response.delta.text, end="", flush=True)
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
