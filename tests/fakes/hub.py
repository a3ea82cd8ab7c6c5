"""A hub that says what a test has written down, over real mutual TLS with real certificates.

It runs in threads, not on an event loop: clients with a loop of their own and clients without one can be tried.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc

from hubspoke.api.admin.v1 import admin_pb2 as admin_pb
from hubspoke.api.admin.v1 import admin_pb2_grpc as admin_rpc
from hubspoke.api.authorities.v1 import authorities_pb2 as authorities_pb
from hubspoke.api.authorities.v1 import authorities_pb2_grpc as authorities_rpc
from hubspoke.api.enrolment.v1 import enrolment_pb2 as enrolment_pb
from hubspoke.api.enrolment.v1 import enrolment_pb2_grpc as enrolment_rpc
from hubspoke.api.identity.v1 import identity_pb2 as identity_pb
from hubspoke.api.identity.v1 import identity_pb2_grpc as identity_rpc
from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.inference.v1 import inference_pb2_grpc as rpc
from hubspoke.api.models.v1 import models_pb2 as models_pb
from hubspoke.api.models.v1 import models_pb2_grpc as models_rpc
from hubspoke.api.nodes.v1 import nodes_pb2 as nodes_pb
from hubspoke.api.nodes.v1 import nodes_pb2_grpc as nodes_rpc
from hubspoke.errors import MeshError
from hubspoke.wire import status
from pki import pem, policy, profiles
from pki.address import Address, parse_host
from pki.authority_files import NODE_ISSUING, ROOT
from pki.files import HubAddresses, HubFiles, NodeFiles
from pki.identity import Identity, NodeName, Role
from pki.setup import Plan, initialise
from pki.tokens import JoinToken

WAIT_S = 10.0
"""Longest wait for anything that a test expects to happen."""

THREADS = 16

NOWHERE = "127.0.0.1:1"
"""An address where nobody listens."""

LAPTOP = Identity(Role.APP, NodeName("laptop"))

Script = Callable[[pb.InferRequest, "FakeHub"], Iterator[pb.InferResponse]]
EmbedScript = Callable[[pb.EmbedRequest, "FakeHub"], Iterator[pb.EmbedResponse]]
LoadScript = Callable[[models_pb.LoadModelRequest, "FakeHub"], Iterator[models_pb.LoadModelResponse]]
PullScript = Callable[[models_pb.PullModelRequest, "FakeHub"], Iterator[models_pb.PullModelResponse]]
Order = (
    models_pb.LoadModelRequest
    | models_pb.UnloadModelRequest
    | models_pb.PullModelRequest
    | models_pb.DeleteModelRequest
)


@dataclass(frozen=True, slots=True)
class MeshOnDisk:
    """The keys of a mesh as `pki init` makes them: the hub's directory and its admin's."""

    hub: HubFiles
    admin: NodeFiles


def make_mesh(directory: Path, address: str = NOWHERE, made_at: datetime | None = None) -> MeshOnDisk:
    """Make a mesh in *directory*, whose admin looks for the hub at *address*; *made_at* is now unless it says otherwise."""
    made = MeshOnDisk(HubFiles(directory / "hub"), NodeFiles(directory / "client"))
    addresses = HubAddresses(mesh=(Address(address),), enrol=(Address(address),))
    plan = Plan(NodeName("base"), NodeName("admin"), (parse_host("localhost"),), addresses)
    initialise(made.hub, made.admin, plan, passphrase=None, now=made_at or datetime.now(UTC))
    return made


def answer(*texts: str) -> Iterator[pb.InferResponse]:
    """Say *texts*, one delta each, between a right beginning and a right end."""
    yield pb.InferResponse(started=pb.Started(spoke="den", model="tiny", model_key="sha256:aa", attempt=1))
    for text in texts:
        yield pb.InferResponse(delta=pb.Delta(text=text))
    finished = pb.Finished(reason=1)
    finished.usage.prompt_tokens, finished.usage.output_tokens = 3, len(texts)
    yield pb.InferResponse(finished=finished)


def hello(_request: pb.InferRequest, _hub: "FakeHub") -> Iterator[pb.InferResponse]:
    """Answer anything with a greeting."""
    yield from answer("Hel", "lo")


def refuse(error: MeshError) -> Script:
    """Answer anything with *error*, as the hub's interceptor would."""

    def script(_request: pb.InferRequest, _hub: "FakeHub") -> Iterator[pb.InferResponse]:
        raise error
        yield  # makes it a generator

    return script


def hang(_request: pb.InferRequest, hub: "FakeHub") -> Iterator[pb.InferResponse]:
    """Begin an answer and never end it."""
    yield pb.InferResponse(delta=pb.Delta(text="Once upon"))
    hub.cancelled.wait(WAIT_S)


def lengths(request: pb.EmbedRequest, _hub: "FakeHub") -> Iterator[pb.EmbedResponse]:
    """Give each text a vector that begins with its length, in two lots."""
    yield pb.EmbedResponse(started=pb.Started(spoke="den", model="tiny", model_key="sha256:aa", attempt=1))
    vectors = [pb.Embedding(values=[float(len(text)), 0.5, 0.25, 0.0, 1.0]) for text in request.inputs]
    yield pb.EmbedResponse(embeddings=pb.Embeddings(first=0, embeddings=vectors[:1]))
    yield pb.EmbedResponse(embeddings=pb.Embeddings(first=1, embeddings=vectors[1:]))
    finished = pb.Finished(reason=1)
    finished.usage.prompt_tokens = 3 * len(vectors)
    yield pb.EmbedResponse(finished=finished)


def loads(request: models_pb.LoadModelRequest, _hub: "FakeHub") -> Iterator[models_pb.LoadModelResponse]:
    """Load in three seconds of nine."""
    for second in range(3):
        loading = models_pb.Loading(spoke=request.spoke or "den")
        loading.elapsed.FromSeconds(second)
        loading.expected.FromSeconds(9)
        yield models_pb.LoadModelResponse(loading=loading)
    loaded = models_pb.Loaded(spoke=request.spoke or "den", engine="ollama", model=request.model)
    loaded.slots, loaded.context_tokens, loaded.memory_bytes, loaded.pinned = 2, 4096, 3 << 30, request.pin
    yield models_pb.LoadModelResponse(loaded=loaded)


def pulls(request: models_pb.PullModelRequest, _hub: "FakeHub") -> Iterator[models_pb.PullModelResponse]:
    """Pull in two steps, one of which has bytes."""
    for step, completed, total in (
        ("pulling manifest", 0, 0),
        ("pulling layer", 1 << 20, 4 << 20),
        ("pulling layer", 4 << 20, 4 << 20),
    ):
        pulling = models_pb.Pulling(spoke="den", step=step, completed_bytes=completed, total_bytes=total)
        yield models_pb.PullModelResponse(pulling=pulling)
    yield models_pb.PullModelResponse(
        pulled=models_pb.Pulled(spoke="den", engine="ollama", model=request.model)
    )


@dataclass
class FakeHub(
    rpc.InferenceServiceServicer,
    models_rpc.ModelsServiceServicer,
    admin_rpc.AdminServiceServicer,
    authorities_rpc.AuthoritiesServiceServicer,
    nodes_rpc.NodesServiceServicer,
    identity_rpc.IdentityServiceServicer,
    enrolment_rpc.EnrolmentServiceServicer,
):
    """What it was asked is kept; `cancelled` is set when a client ends a call early."""

    files: HubFiles
    script: Script = hello
    refuses: MeshError | None = None
    loses_replies: int = 0
    asked: list[pb.InferRequest] = field(default_factory=list)
    joins: list[enrolment_pb.JoinRequest] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    models: Iterable[pb.ModelSummary] = ()
    spokes: Iterable[admin_pb.SpokeStatus] = ()
    authorities: authorities_pb.Authorities | None = None
    nodes: Iterable[nodes_pb.Node] = ()
    embeds: EmbedScript = lengths
    loads: LoadScript = loads
    pulls: PullScript = pulls
    unloaded: Iterable[str] = ("den",)
    embedded: list[pb.EmbedRequest] = field(default_factory=list)
    ordered: list[Order] = field(default_factory=list)
    lists: int = 0
    joiner: Identity = LAPTOP
    tells: Iterable[str] = ()

    def Infer(self, request, context):  # noqa: N802  # the proto names it
        self.asked.append(request)
        context.add_callback(lambda: self.cancelled.set() if context.code() is None else None)
        with _errors(context):
            yield from self.script(request, self)
        context.set_code(grpc.StatusCode.OK)

    def Embed(self, request, context):  # noqa: N802  # the proto names it
        self.embedded.append(request)
        with _errors(context):
            yield from self.embeds(request, self)

    def LoadModel(self, request, context):  # noqa: N802  # the proto names it
        yield from self._order(request, context, self.loads)

    def PullModel(self, request, context):  # noqa: N802  # the proto names it
        yield from self._order(request, context, self.pulls)

    def UnloadModel(self, request, context):  # noqa: N802  # the proto names it
        self.ordered.append(request)
        with _errors(context):
            self._refuse()
            return models_pb.UnloadModelResponse(spokes=self.unloaded)

    def DeleteModel(self, request, context):  # noqa: N802  # the proto names it
        self.ordered.append(request)
        with _errors(context):
            self._refuse()
            return models_pb.DeleteModelResponse(spokes=self.unloaded)

    def ListModels(self, _request, context):  # noqa: N802  # the proto names it
        self.lists += 1
        with _errors(context):
            self._refuse()
            return pb.ListModelsResponse(models=self.models)

    def ListSpokes(self, _request, context):  # noqa: N802  # the proto names it
        with _errors(context):
            self._refuse()
            return admin_pb.ListSpokesResponse(spokes=self.spokes)

    def GetAuthorities(self, _request, context):  # noqa: N802  # the proto names it
        with _errors(context):
            self._refuse()
            return authorities_pb.GetAuthoritiesResponse(authorities=self.authorities)

    def ListNodes(self, _request, context):  # noqa: N802  # the proto names it
        with _errors(context):
            self._refuse()
            return nodes_pb.ListNodesResponse(nodes=self.nodes)

    def CreateJoinToken(self, request, context):  # noqa: N802  # the proto names it
        with _errors(context):
            self._refuse()
            token = JoinToken.mint(self.files.authorities.load_certificate(ROOT), (Address(NOWHERE),))
            response = admin_pb.CreateJoinTokenResponse(token=token.text)
            response.expires_at.FromDatetime(datetime.now(UTC) + request.lifetime.ToTimedelta())
            return response

    def GetBundle(self, request, _context):  # noqa: N802  # the proto names it
        return identity_pb.GetBundleResponse(
            anchors=self._anchors(),
            bundle_generation=request.held_generation,
            mesh_addresses=self.tells,
            enrol_addresses=self.tells,
        )

    def Renew(self, request, context):  # noqa: N802  # the proto names it
        peer = context.auth_context()["x509_pem_cert"][0]
        (certificate,) = pem.certificates(pem.split(peer))
        with _errors(context):
            chain = self._certify(request.certificate_request, policy.identity_of(certificate))
        self._perhaps_lose(context)
        return identity_pb.RenewResponse(certificate_chain=chain, anchors=self._anchors())

    def Join(self, request, context):  # noqa: N802  # the proto names it
        self.joins.append(request)
        with _errors(context):
            self._refuse()
            chain = self._certify(request.certificate_request, self.joiner)
        self._perhaps_lose(context)
        return enrolment_pb.JoinResponse(
            membership=enrolment_pb.Membership(
                certificate_chain=chain,
                anchors=self._anchors(),
                mesh_addresses=["127.0.0.1:7443"],
                name=self.joiner.name,
            )
        )

    def _order(self, request, context, script):
        self.ordered.append(request)
        context.add_callback(lambda: self.cancelled.set() if context.code() is None else None)
        with _errors(context):
            self._refuse()
            yield from script(request, self)
        context.set_code(grpc.StatusCode.OK)

    def _refuse(self) -> None:
        if self.refuses is not None:
            raise self.refuses

    def _certify(self, request_der: bytes, identity: Identity) -> bytes:
        key = policy.check_csr(request_der)
        self.keys.append(request_der)
        issuer = self.files.authorities.load_node_issuer()
        now = datetime.now(UTC)
        return issuer.issue_node(key, identity, now=now, lifetime=profiles.LEAF_LIFETIME).pem

    def _anchors(self) -> bytes:
        return self.files.anchors.read_bytes()

    def _perhaps_lose(self, context: grpc.ServicerContext) -> None:
        if self.loses_replies:
            self.loses_replies -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


@contextmanager
def serve_mesh(
    hub: FakeHub, add: Callable[[grpc.Server], None] = lambda _server: None, port: int = 0
) -> Iterator[str]:
    """Serve the mesh port of *hub*, any free one unless told which, and give its address; *add* brings more services."""
    identity = hub.files.load_identity()
    issuer = pem.write((hub.files.authorities.load_certificate(NODE_ISSUING),))
    pair = (identity.key_pem, identity.chain_pem)
    credentials = grpc.ssl_server_credentials([pair], issuer, require_client_auth=True)
    with _serving(credentials, port) as (server, address):
        rpc.add_InferenceServiceServicer_to_server(hub, server)
        admin_rpc.add_AdminServiceServicer_to_server(hub, server)
        authorities_rpc.add_AuthoritiesServiceServicer_to_server(hub, server)
        nodes_rpc.add_NodesServiceServicer_to_server(hub, server)
        models_rpc.add_ModelsServiceServicer_to_server(hub, server)
        identity_rpc.add_IdentityServiceServicer_to_server(hub, server)
        add(server)
        server.start()
        yield address


@contextmanager
def serve_enrol(hub: FakeHub) -> Iterator[str]:
    """Serve the enrol port of *hub*, and give its address."""
    identity = hub.files.load_identity()
    credentials = grpc.ssl_server_credentials([(identity.key_pem, identity.chain_pem)])
    with _serving(credentials) as (server, address):
        enrolment_rpc.add_EnrolmentServiceServicer_to_server(hub, server)
        server.start()
        yield address


@contextmanager
def _serving(credentials: grpc.ServerCredentials, port: int = 0) -> Iterator[tuple[grpc.Server, str]]:
    with ThreadPoolExecutor(THREADS) as pool:
        server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        bound = server.add_secure_port(f"127.0.0.1:{port}", credentials)
        try:
            yield server, f"127.0.0.1:{bound}"
        finally:
            server.stop(grace=None).wait(WAIT_S)


@contextmanager
def _errors(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except MeshError as error:
        context.set_trailing_metadata(status.trailers_of(error))
        context.abort(status.code_of(error), error.message)
