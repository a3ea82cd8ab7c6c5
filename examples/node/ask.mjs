// Ask a model of the mesh and print its answer as it is made.
//
// hubspoke join                       # once, with a token from whoever runs the mesh
// npm ci                              # once, in this folder
// node ask.mjs MODEL "Why is the sky blue?"

import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const PROTOS = fileURLToPath(new URL("../../protos", import.meta.url));
const CONNECT_MS = 5_000; // for each of the hub's addresses
const ANSWER_MS = 10 * 60_000;
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
const INTERRUPTED = 130;

const OPTIONS = {
  // Every hub's certificate has this name, whatever address it is dialled at.
  "grpc.ssl_target_name_override": "hub.hubspoke.internal",
  "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
  "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
};

// What is needed of google.rpc.Status, which travels in a trailer when a call fails.
const DETAILS = protoLoader.fromJSON({
  nested: {
    Status: { fields: { details: { rule: "repeated", type: "Any", id: 3 } } },
    Any: { fields: { typeUrl: { type: "string", id: 1 }, value: { type: "bytes", id: 2 } } },
    ErrorInfo: { fields: { reason: { type: "string", id: 1 } } },
  },
});

async function main(model, question) {
  const client = await connect(readIdentity());
  const messages = [{ speaker: "SPEAKER_USER", text: question }];
  const request = { model, conversation: { messages }, maxOutputTokens: 200 };
  const call = client.infer(request, { deadline: Date.now() + ANSWER_MS });
  process.once("SIGINT", () => call.cancel());
  try {
    for await (const { event, started, delta, finished } of call) {
      if (event === "started") console.error(`[${started.spoke} answers]`);
      if (event === "delta") process.stdout.write(delta.text);
      if (event === "finished") console.error(`\n[${finished.usage.outputTokens} tokens]`);
    }
  } finally {
    client.close();
  }
}

/** Read what `hubspoke join` has written. */
function readIdentity() {
  const directory = clientDirectory(process.env);
  try {
    // One file holds the key and the chain; each side of TLS takes from it what it needs.
    const identity = readFileSync(join(directory, "identity.pem"));
    const anchors = readFileSync(join(directory, "anchors.pem"));
    const { mesh } = JSON.parse(readFileSync(join(directory, "hub.json"), "utf8"));
    return { credentials: grpc.credentials.createSsl(anchors, identity, identity), addresses: mesh };
  } catch (error) {
    throw new Error(`no identity in ${directory} (${error.code ?? error.message}); run \`hubspoke join\``);
  }
}

/** Say where `hubspoke join` writes it. */
function clientDirectory({ HUBSPOKE_STATE_DIR, LOCALAPPDATA, XDG_CONFIG_HOME }) {
  if (HUBSPOKE_STATE_DIR) return join(HUBSPOKE_STATE_DIR, "client");
  if (LOCALAPPDATA) return join(LOCALAPPDATA, "hubspoke", "client");
  return join(XDG_CONFIG_HOME || join(homedir(), ".config"), "hubspoke");
}

/** Connect to the first of *addresses* that answers. */
async function connect({ credentials, addresses }) {
  const definition = protoLoader.loadSync("hubspoke/api/inference/v1/inference.proto", {
    includeDirs: [PROTOS],
    enums: String,
    longs: Number,
    oneofs: true,
  });
  const { InferenceService } = grpc.loadPackageDefinition(definition).hubspoke.api.inference.v1;
  for (const address of addresses) {
    const client = new InferenceService(address, credentials, OPTIONS);
    const isReady = await new Promise((resolve) => {
      client.waitForReady(Date.now() + CONNECT_MS, (error) => resolve(!error));
    });
    if (isReady) return client;
    client.close();
  }
  throw new Error(`no hub answers at ${addresses.join(" or ")}, or it does not accept this identity`);
}

/** Say what went wrong: the stable reason, where the hub gives one, and the sentence. */
function sentence(error) {
  if (error.code === undefined) return error.message;
  return `${reason(error) ?? grpc.status[error.code].toLowerCase()}: ${error.details}`;
}

function reason(error) {
  const [trailer] = error.metadata.get("grpc-status-details-bin");
  if (trailer === undefined) return undefined;
  const { details = [] } = DETAILS.Status.deserialize(trailer);
  const info = details.find(({ typeUrl }) => typeUrl.endsWith("/google.rpc.ErrorInfo"));
  return info && DETAILS.ErrorInfo.deserialize(info.value).reason.toLowerCase();
}

const [model, question, ...more] = process.argv.slice(2);
if (question === undefined || more.length > 0) {
  console.error("usage: node ask.mjs MODEL QUESTION");
  process.exit(2);
}
try {
  await main(model, question);
} catch (error) {
  console.error(sentence(error));
  process.exitCode = error.code === grpc.status.CANCELLED ? INTERRUPTED : 1;
}
