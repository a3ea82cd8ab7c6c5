"""Asks for JSON again and again: so many answers for each of ten schemas, drawn with as many seeds.

Its argument is how many. It tells of each schema how many answers were valid, by the judgement of `jsonschema`.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jsonschema
import openai
import trial

WORD = {"type": "string", "minLength": 1, "maxLength": 12}
SHORT = {"type": "integer", "minimum": 0, "maximum": 99}


def an_object(**properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMAS = {
    "pair": an_object(name=WORD, n=SHORT),
    "enum": an_object(colour={"enum": ["red", "green", "blue"]}, is_warm={"type": "boolean"}),
    "nested": an_object(who=an_object(name=WORD, at=an_object(x=SHORT, y=SHORT)), note=WORD),
    "list": an_object(words={"type": "array", "items": WORD, "minItems": 1, "maxItems": 3}),
    "objects": an_object(rows={"type": "array", "items": an_object(id=SHORT, name=WORD), "maxItems": 2}),
    "optional": {**an_object(name=WORD, nick=WORD, age=SHORT), "required": ["name"]},
    "either": an_object(value={"anyOf": [WORD, SHORT, {"type": "null"}]}),
    "reference": {
        **an_object(left={"$ref": "#/$defs/point"}, right={"$ref": "#/$defs/point"}),
        "$defs": {"point": an_object(x=SHORT, y=SHORT)},
    },
    "constant": an_object(kind={"const": "event"}, day={"type": "string", "format": "date"}),
    "choice": {"anyOf": [an_object(ok={"const": True}, word=WORD), an_object(ok={"const": False}, why=WORD)]},
}
TOKENS_MAX = 300
SIDE_BY_SIDE = 4

client = openai.OpenAI(base_url=f"{trial.URL}/v1", api_key=trial.KEY, max_retries=0)


def fault(schema: dict[str, object], seed: int) -> str:
    """Ask once; say what is wrong with the answer, "" for nothing."""
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(
        model=trial.MODEL,
        messages=[{"role": "user", "content": trial.JSON}],
        response_format=wanted,
        max_tokens=TOKENS_MAX,
        temperature=1.0,
        seed=seed,
    )
    text = answer.choices[0].message.content
    try:
        jsonschema.validate(json.loads(text), schema, format_checker=jsonschema.FormatChecker())
    except (json.JSONDecodeError, jsonschema.ValidationError) as error:
        return f"seed {seed}, {answer.choices[0].finish_reason}: {text!r}: {str(error).partition(chr(10))[0]}"
    return ""


def main() -> None:
    """Try every schema."""
    count = int(sys.argv[1])
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for name, schema in SCHEMAS.items():
            jsonschema.Draft202012Validator.check_schema(schema)
            faults = [found for found in pool.map(partial(fault, schema), range(1, count + 1)) if found]
            trial.tell(feature=name, ok=not faults, detail=faults[:3], asked=count, valid=count - len(faults))


main()
