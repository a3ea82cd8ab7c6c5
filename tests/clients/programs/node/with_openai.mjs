// OpenAI's own package for Node.
import OpenAI from "openai";
import * as trial from "./trial.mjs";

const clientWith = (apiKey) => new OpenAI({ baseURL: `${trial.URL}/v1`, apiKey, maxRetries: 0 });
const client = clientWith(trial.KEY);

async function ask(model = trial.MODEL, key = trial.KEY) {
  const answer = await clientWith(key).chat.completions.create({ model, messages: trial.CAPITAL });
  return answer.choices[0].message.content;
}

const stream = (model) => client.chat.completions.create({ model, messages: trial.COUNT, stream: true });

async function* pieces(chunks) {
  for await (const chunk of chunks) for (const choice of chunk.choices) yield choice.delta.content;
}

async function tools() {
  const offered = [{ type: "function", function: trial.WEATHER }];
  const first = await client.chat.completions.create({
    model: trial.SKILLED,
    messages: trial.CALL,
    tools: offered,
  });
  const message = first.choices[0].message;
  const [call] = message.tool_calls;
  const found = trial.isCall(call.function.name, call.function.arguments);
  const messages = [...trial.CALL, message, { role: "tool", tool_call_id: call.id, content: "sunny" }];
  const second = await client.chat.completions.create({ model: trial.SKILLED, messages, tools: offered });
  trial.saidSunny(second.choices[0].message.content);
  return found;
}

async function jsonSchema() {
  const answer = await client.chat.completions.create({
    model: trial.SKILLED,
    messages: trial.JSON_PAIR,
    response_format: { type: "json_schema", json_schema: { name: "pair", schema: trial.PAIR } },
  });
  return trial.isPair(answer.choices[0].message.content);
}

async function embeddings() {
  const made = await client.embeddings.create({ model: trial.SKILLED, input: trial.TEXTS });
  return trial.areVectors(made.data.map((one) => one.embedding));
}

async function models() {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  if (!names.includes(trial.MODEL)) throw new Error(names.join());
  return `${names.length} models`;
}

async function cancel() {
  const chunks = await stream(trial.ENDLESS);
  return trial.left(pieces(chunks), () => chunks.controller.abort());
}

const is = (kind) => (error) => error instanceof kind;

await trial.run({
  chat: async () => trial.saidParis(await ask()),
  stream: async () => trial.counted(pieces(await stream(trial.MODEL))),
  tools,
  json_schema: jsonSchema,
  embeddings,
  models,
  unknown: () => trial.raised(is(OpenAI.NotFoundError), () => ask(trial.UNKNOWN)),
  key: () => trial.raised(is(OpenAI.AuthenticationError), () => ask(trial.MODEL, trial.WRONG_KEY)),
  quota: async () => {
    await ask(trial.MODEL, trial.NARROW_KEY);
    return trial.raised(is(OpenAI.RateLimitError), () => ask(trial.MODEL, trial.NARROW_KEY));
  },
  cancel,
  killed: async () => trial.broken(is(OpenAI.APIError), pieces(await stream(trial.DOOMED))),
});
