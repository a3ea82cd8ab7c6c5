// Anthropic's own package for Node.
import Anthropic from "@anthropic-ai/sdk";
import * as trial from "./trial.mjs";

const clientWith = (apiKey) => new Anthropic({ baseURL: trial.URL, apiKey, maxRetries: 0 });
const client = clientWith(trial.KEY);

const textOf = (message) => message.content.map((block) => block.text ?? "").join("");

async function ask(model = trial.MODEL, key = trial.KEY) {
  return textOf(await clientWith(key).messages.create({ model, max_tokens: 200, messages: trial.CAPITAL }));
}

const stream = (model) =>
  client.messages.create({ model, max_tokens: 200, messages: trial.COUNT, stream: true });

async function* pieces(events) {
  for await (const event of events) if (event.type === "content_block_delta") yield event.delta.text;
}

async function tools() {
  const { name, description, parameters } = trial.WEATHER;
  const common = {
    model: trial.SKILLED,
    max_tokens: 200,
    tools: [{ name, description, input_schema: parameters }],
  };
  const first = await client.messages.create({ ...common, messages: trial.CALL });
  const call = first.content.find((block) => block.type === "tool_use");
  const found = trial.isCall(call.name, call.input);
  const result = { type: "tool_result", tool_use_id: call.id, content: "sunny" };
  const messages = [
    ...trial.CALL,
    { role: "assistant", content: first.content },
    { role: "user", content: [result] },
  ];
  trial.saidSunny(textOf(await client.messages.create({ ...common, messages })));
  return found;
}

async function jsonSchema() {
  const answer = await client.messages.create({
    model: trial.SKILLED,
    max_tokens: 200,
    messages: trial.JSON_PAIR,
    output_config: { format: { type: "json_schema", schema: trial.PAIR } },
  });
  return trial.isPair(textOf(answer));
}

async function models() {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  if (!names.includes(trial.MODEL)) throw new Error(names.join());
  return `${names.length} models`;
}

async function cancel() {
  const events = await stream(trial.ENDLESS);
  return trial.left(pieces(events), () => events.controller.abort());
}

const is = (kind) => (error) => error instanceof kind;

await trial.run({
  chat: async () => trial.saidParis(await ask()),
  stream: async () => trial.counted(pieces(await stream(trial.MODEL))),
  tools,
  json_schema: jsonSchema,
  models,
  unknown: () => trial.raised(is(Anthropic.NotFoundError), () => ask(trial.UNKNOWN)),
  key: () => trial.raised(is(Anthropic.AuthenticationError), () => ask(trial.MODEL, trial.WRONG_KEY)),
  quota: async () => {
    await ask(trial.MODEL, trial.NARROW_KEY);
    return trial.raised(is(Anthropic.RateLimitError), () => ask(trial.MODEL, trial.NARROW_KEY));
  },
  cancel,
  killed: async () => trial.broken(is(Anthropic.APIError), pieces(await stream(trial.DOOMED))),
});
