"""Write a shipped GGUF file: `python -m tools.tiny_model.export tiny /tmp/tiny_model`.

Reads `<folder>/<model>.pt`; the same weights give the same bytes.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import torch
from gguf import (
    GGML_QUANT_VERSION,
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    PoolingType,
    TokenType,
    quants,
)

from . import vocabulary
from .model import Llama, Shape
from .recipes import RECIPES
from .vocabulary import Mark

SHIPPED = Path(__file__).parents[2] / "spoke" / "models" / "shipped"
CHECKSUMS = "SHA256SUMS"


def load(name: str, folder: Path) -> Llama:
    """Read back the trained model *name* that `train` left in *folder*."""
    model = Llama(RECIPES[name].shape)
    model.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True))
    return model


def shipped_path(name: str) -> Path:
    """Say where the repository keeps the model *name*."""
    return SHIPPED / f"{name}-q8_0.gguf"


def export(name: str, model: Llama, path: Path) -> None:
    """Write *model* to *path* as a Q8_0 `llama` that llama.cpp runs and chats with as it is."""
    writer = GGUFWriter(path, arch="llama")
    _describe(writer, name, model.shape)
    _describe_vocabulary(writer)
    writer.add_chat_template(RECIPES[name].template)
    if RECIPES[name].makes_vectors:
        writer.add_pooling_type(PoolingType.MEAN)
    _add_tensors(writer, model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def checksums(folder: Path) -> str:
    """List the SHA-256 of every GGUF file in *folder* in the form that `sha256sum --check` reads."""
    paths = sorted(folder.glob("*.gguf"))
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)


def _describe(writer: GGUFWriter, name: str, shape: Shape) -> None:
    writer.add_name(name)
    writer.add_license("apache-2.0")
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.dim)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.head_dim)


def _describe_vocabulary(writer: GGUFWriter) -> None:
    normal, control = [TokenType.NORMAL], [TokenType.CONTROL]
    writer.add_vocab_size(vocabulary.SIZE)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.token_names())
    writer.add_token_types([*normal * vocabulary.BYTES, *control * len(Mark), *normal])
    writer.add_token_merges(vocabulary.merges())
    writer.add_add_bos_token(value=False)
    # Named although it is never added: llama.cpp would assume token 11, which is an ordinary byte here.
    writer.add_bos_token_id(Mark.END)
    writer.add_eos_token_id(Mark.END)
    writer.add_pad_token_id(Mark.END)


def _add_tensors(writer: GGUFWriter, model: Llama) -> None:
    """Quantise the matrices; norms are vectors, and llama.cpp wants those in full precision."""
    for tensor_name, tensor in model.state_dict().items():
        weights = tensor.numpy().astype(np.float32)
        if weights.ndim == 1:
            writer.add_tensor(tensor_name, weights)
        else:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(tensor_name, quants.quantize(weights, kind), raw_dtype=kind)


def main() -> None:
    """Parse the command line, export one model and write the checksums beside the files."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", choices=RECIPES)
    arguments.add_argument("folder", type=Path, help="where train left the checkpoint")
    options = arguments.parse_args()
    SHIPPED.mkdir(parents=True, exist_ok=True)
    export(options.model, load(options.model, options.folder), shipped_path(options.model))
    (SHIPPED / CHECKSUMS).write_text(checksums(SHIPPED))
    print(checksums(SHIPPED), end="")


if __name__ == "__main__":
    main()
