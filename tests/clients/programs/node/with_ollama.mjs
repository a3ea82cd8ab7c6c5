// Ollama's own package for Node.
import { Ollama } from "ollama";
import * as trial from "./trial.mjs";

const clientWith = (key) =>
  new Ollama({ host: trial.URL, headers: { authorization: `Bearer ${key}` } });
const client = clientWith(trial.KEY);

async function ask(model = trial.MODEL, key = trial.KEY) {
  return (await clientWith(key).chat({ model, messages: trial.CAPITAL })).message.content;
}

const stream = (model) => client.chat({ model, messages: trial.COUNT, stream: true });

async function* pieces(parts) {
  for await (const part of parts) yield part.message.content;
}

async function tools() {
  const offered = [{ type: "function", function: trial.WEATHER }];
  const first = await client.chat({ model: trial.SKILLED, messages: trial.CALL, tools: offered });
  const [call] = first.message.tool_calls;
  const found = trial.isCall(call.function.name, call.function.arguments);
  const result = { role: "tool", tool_name: "weather", content: "sunny" };
  const messages = [...trial.CALL, first.message, result];
  const second = await client.chat({ model: trial.SKILLED, messages, tools: offered });
  trial.saidSunny(second.message.content);
  return found;
}

async function jsonSchema() {
  const wanted = { model: trial.SKILLED, messages: trial.JSON_PAIR, format: trial.PAIR };
  return trial.isPair((await client.chat(wanted)).message.content);
}

async function models() {
  const names = (await client.list()).models.map((model) => model.name);
  if (!names.some((name) => name.replace(/:latest$/, "") === trial.MODEL)) throw new Error(names.join());
  return `${names.length} models`;
}

async function cancel() {
  const parts = await stream(trial.ENDLESS);
  return trial.left(pieces(parts), () => parts.abort());
}

const has = (status) => (error) => error.name === "ResponseError" && error.status_code === status;

await trial.run({
  chat: async () => trial.saidParis(await ask()),
  stream: async () => trial.counted(pieces(await stream(trial.MODEL))),
  tools,
  json_schema: jsonSchema,
  embeddings: async () =>
    trial.areVectors((await client.embed({ model: trial.SKILLED, input: trial.TEXTS })).embeddings),
  models,
  unknown: () => trial.raised(has(404), () => ask(trial.UNKNOWN)),
  key: () => trial.raised(has(401), () => ask(trial.MODEL, trial.WRONG_KEY)),
  quota: async () => {
    await ask(trial.MODEL, trial.NARROW_KEY);
    return trial.raised(has(429), () => ask(trial.MODEL, trial.NARROW_KEY));
  },
  cancel,
  killed: async () => trial.broken((error) => error instanceof Error, pieces(await stream(trial.DOOMED))),
});
