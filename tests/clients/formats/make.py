"""Writes small models of every format below the folder that is named: each by the program whose format it is."""

import sys
from pathlib import Path

import gguf
import numpy
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

VOCABULARY = 300
WIDTH = 64
LAYERS = 2
HEADS = 2
INNER = 128
CONTEXT = 64


def pickled(folder: Path) -> None:
    """pytorch_model.bin"""
    config = BertConfig(VOCABULARY, WIDTH, LAYERS, HEADS, INNER)
    BertModel(config).save_pretrained(folder, safe_serialization=False)


def llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        VOCABULARY, WIDTH, INNER, LAYERS, HEADS, num_key_value_heads=HEADS, max_position_embeddings=CONTEXT
    )
    return LlamaForCausalLM(config)


def sharded(folder: Path) -> None:
    """model-0000N-of-0000M.safetensors and their index."""
    llama().save_pretrained(folder, max_shard_size="100KB")


def adapter(folder: Path, base: Path) -> None:
    """adapter_config.json and adapter_model.safetensors, for the sharded model."""
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = get_peft_model(LlamaForCausalLM.from_pretrained(base), config)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(folder)
    text = (folder / "adapter_config.json").read_text()
    (folder / "adapter_config.json").write_text(text.replace(str(base), "acme/sharded"))


def one_file(path: Path) -> None:
    """A GGUF that llama.cpp can run."""
    random = numpy.random.default_rng(5)
    path.parent.mkdir()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(VOCABULARY)
    add_vocabulary(writer)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", (random.standard_normal(shape) * 0.05).astype(numpy.float32))

    for name in ["token_embd", "output"]:
        add(name, VOCABULARY, WIDTH)
    add("output_norm", WIDTH)
    for layer in range(LAYERS):
        for name in ["attn_norm", "ffn_norm"]:
            add(f"blk.{layer}.{name}", WIDTH)
        for name in ["attn_q", "attn_k", "attn_v", "attn_output"]:
            add(f"blk.{layer}.{name}", WIDTH, WIDTH)
        for name in ["ffn_gate", "ffn_up"]:
            add(f"blk.{layer}.{name}", INNER, WIDTH)
        add(f"blk.{layer}.ffn_down", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_vocabulary(writer: gguf.GGUFWriter) -> None:
    """Three marks, every byte, and words that mean nothing."""
    kinds = gguf.TokenType
    tokens = [("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)]
    tokens += [(f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)]
    tokens += [(f"word{number}", kinds.NORMAL) for number in range(VOCABULARY - len(tokens))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    torch.manual_seed(1)
    pickled(root / "pickled")
    sharded(root / "sharded")
    adapter(root / "adapter", root / "sharded")
    one_file(root / "gguf" / "model.gguf")
