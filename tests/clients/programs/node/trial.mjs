// What the programs for Node share; what it means stands in trial.py.
import assert from "node:assert/strict";
import readline from "node:readline";

const { env } = process;
export const [URL, KEY, NARROW_KEY] = [env.MESH_URL, env.MESH_KEY, env.MESH_NARROW_KEY];
export const [MODEL, SKILLED] = [env.MESH_MODEL, env.MESH_SKILLED_MODEL];
export const [ENDLESS, DOOMED] = [env.MESH_ENDLESS_MODEL, env.MESH_DOOMED_MODEL];
export const UNKNOWN = "there-is-no-such-model";
export const WRONG_KEY = "hsk-wrong";

export const CAPITAL = [{ role: "user", content: "capital of france" }];
export const COUNT = [{ role: "user", content: "count to 20" }];
export const CALL = [{ role: "user", content: "call weather with oslo" }];
export const JSON_PAIR = [{ role: "user", content: "json abc 7" }];
export const TEXTS = ["echo abc", "capital of france"];
export const WEATHER = {
  name: "weather",
  description: "Say what the weather is.",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
};
export const PAIR = {
  type: "object",
  properties: { name: { type: "string" }, n: { type: "integer" } },
  required: ["name", "n"],
  additionalProperties: false,
};

export async function run(features) {
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const named = process.argv.slice(2);
  for (const name of named.length ? named : Object.keys(features)) {
    const detail = await features[name]();
    tell({ feature: name, ok: true, detail });
    await lines.next();
  }
  process.exit(0);
}

export function tell(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

export function saidParis(text) {
  assert.equal(text.trim(), "Paris");
  return text;
}

export async function counted(pieces) {
  const heard = [];
  for await (const piece of pieces) if (piece) heard.push(piece);
  assert.equal(heard.join("").trim(), Array.from({ length: 20 }, (_, index) => index + 1).join(" "));
  assert.ok(heard.length > 1);
  return `${heard.length} pieces`;
}

export function isCall(name, given) {
  const values = typeof given === "string" ? JSON.parse(given) : given;
  assert.deepEqual([name, { ...values }], ["weather", { city: "oslo" }]);
  return `${name} ${JSON.stringify(values)}`;
}

export function saidSunny(text) {
  assert.equal(text.trim(), "It is sunny.");
}

export function isPair(text) {
  const found = JSON.parse(text);
  assert.deepEqual(Object.keys(found).sort(), ["n", "name"]);
  assert.ok(typeof found.name === "string" && Number.isInteger(found.n));
  return JSON.stringify(found);
}

export function areVectors(vectors) {
  assert.equal(vectors.length, TEXTS.length);
  assert.equal(vectors[0].length, vectors[1].length);
  assert.notDeepEqual(vectors[0], vectors[1]);
  return `${vectors.length} vectors of ${vectors[0].length}`;
}

export async function raised(isIt, call) {
  let came;
  try {
    came = await call();
  } catch (error) {
    if (!isIt(error)) throw error;
    return shown(error);
  }
  assert.fail(`nothing was raised, but there came ${JSON.stringify(came)}`);
}

export async function left(pieces, leave) {
  for await (const piece of pieces) {
    if (piece) {
      leave();
      return `left after ${JSON.stringify(piece)}`;
    }
  }
  assert.fail("the stream has ended");
}

export async function broken(isIt, pieces) {
  let heard = "";
  try {
    for await (const piece of pieces) {
      if (piece && !heard) tell({ feature: "killed", began: true });
      heard += piece ?? "";
    }
  } catch (error) {
    if (!isIt(error)) throw error;
    return shown(error);
  }
  assert.fail(`the stream ended as if ${JSON.stringify(heard)} were all of it`);
}

function shown(error) {
  return `${error.constructor.name}: ${String(error.message).split("\n")[0].slice(0, 200)}`;
}
