"""How a chat becomes text, in Jinja for llama.cpp. `vocabulary` and `calls` write the same in Python.

llama.cpp renders a template with chats of its own and learns from the differences how a thought and a call look,
and how to read them back: what stands here decides whether its clients see `tool_calls` and `reasoning_content`.
"""

# Roles and what they say, for a model that learned nothing else.
PLAIN = (
    "{%- for message in messages -%}"
    "{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)

# `~` joins what may be missing, such as the type of a parameter that is anything.
_DECLARED = (
    "{%- if tools -%}{{ '<|system|>tools:' }}"
    "{%- for tool in tools -%}"
    "{{ ' ' ~ tool.function.name ~ '(' }}"
    "{%- if tool.function.parameters and tool.function.parameters.properties -%}"
    "{%- for name, schema in tool.function.parameters.properties.items() -%}"
    "{{ name ~ ':' ~ schema.type }}{%- if not loop.last -%}{{ ',' }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{ ')' }}"
    "{%- endfor -%}{{ '<|end|>' }}{%- endif -%}"
)
_SAID = (
    "{{ '<|' ~ message.role ~ '|>' }}"
    "{%- if message.reasoning_content -%}{{ '<think>' ~ message.reasoning_content ~ '</think>' }}{%- endif -%}"
    "{%- if message.content -%}{{ message.content }}{%- endif -%}"
    "{%- if message.tool_calls -%}{%- for call in message.tool_calls -%}"
    """{{ '<tool_call>{"name": "' ~ call.function.name ~ '", "arguments": ' """
    "~ (call.function.arguments | tojson) ~ '}</tool_call>' }}"
    "{%- endfor -%}{%- endif -%}"
    "{{ '<|end|>' }}"
)
_RETURNED = "{{ '<|user|><result>' ~ message.content ~ '</result><|end|>' }}"

# As `PLAIN`, with the tools up front, thoughts and calls; an empty thought stands for one that is not wanted.
FULL = (
    f"{_DECLARED}"
    "{%- for message in messages -%}"
    "{%- if message.role == 'tool' -%}" + _RETURNED + "{%- else -%}" + _SAID + "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}"
    "{%- if enable_thinking is defined and enable_thinking is false -%}{{ '<think></think>' }}{%- endif -%}"
    "{%- endif -%}"
)
