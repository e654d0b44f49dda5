"""A real model file that knows nothing: one layer of pseudo-random weights over a vocabulary of bytes, 113 KB.

It makes the local engine do all it does with a real model (load, serve, stream, count, obey a grammar, stop at a
bound, die), in well under a second and without a download. What it says is noise; no test may look at the words.

The format is GGUF v3: magic, version, counts, typed key-values, tensor table, and the tensors at aligned offsets.
"""

import random
import struct
from pathlib import Path

_WIDTH, _FORWARD, _HEADS, _CONTEXT = 32, 64, 4, 4096
_ALIGNMENT = 32  # the format's default
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # token types
_U32, _I32, _F32, _STRING, _ARRAY = 4, 5, 6, 8, 9  # value types
_CONTROLS = 3  # the first tokens: unknown, beginning, end
_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "


def write(path: Path, *, seed: int = 7) -> Path:
    """Writes the model; the same seed gives the same bytes."""
    values = _values()
    tensors = _tensors(len(_tokens()))
    table, blob, offset = b"", b"", 0
    source = random.Random(seed)
    for name, shape in tensors:
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        is_norm = "norm" in name
        weights = [1.0 if is_norm else source.uniform(-0.5, 0.5) for _ in range(count)]
        if name == "output.weight":  # with no weight of its own the end is never the likeliest token
            weights[: _WIDTH * _CONTROLS] = [0.0] * (_WIDTH * _CONTROLS)
        raw = struct.pack(f"<{count}f", *weights)
        table += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        padding = -len(raw) % _ALIGNMENT
        blob += raw + bytes(padding)
        offset += len(raw) + padding
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + b"".join(values) + table
    path.write_bytes(head + bytes(-len(head) % _ALIGNMENT) + blob)
    return path


def _tokens() -> list[tuple[str, int]]:
    plain = [("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL)]
    return plain + [(f"<0x{n:02X}>", _BYTE) for n in range(256)] + [("\u2581", _NORMAL), ("a", _NORMAL)]


def _values() -> list[bytes]:
    tokens = _tokens()
    numbers = {
        "llama.context_length": _CONTEXT,
        "llama.embedding_length": _WIDTH,
        "llama.block_count": 1,
        "llama.feed_forward_length": _FORWARD,
        "llama.attention.head_count": _HEADS,
        "llama.attention.head_count_kv": _HEADS,
        "llama.rope.dimension_count": _WIDTH // _HEADS,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    words = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "tokenizer.ggml.model": "llama",
        "tokenizer.chat_template": _TEMPLATE,
    }
    found = [_string(key) + struct.pack("<I", _STRING) + _string(word) for key, word in words.items()]
    found += [_string(key) + struct.pack("<II", _U32, number) for key, number in numbers.items()]
    found.append(_string("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", _F32, 1e-5))
    found.append(_array("tokenizer.ggml.tokens", _STRING, b"".join(_string(token) for token, _ in tokens), len(tokens)))
    scores = struct.pack(f"<{len(tokens)}f", *(float(-n) for n in range(len(tokens))))
    found.append(_array("tokenizer.ggml.scores", _F32, scores, len(tokens)))
    kinds = struct.pack(f"<{len(tokens)}i", *(kind for _, kind in tokens))
    found.append(_array("tokenizer.ggml.token_type", _I32, kinds, len(tokens)))
    return found


def _tensors(vocabulary: int) -> list[tuple[str, tuple[int, ...]]]:
    square = ("attn_q", "attn_k", "attn_v", "attn_output")
    return [
        ("token_embd.weight", (_WIDTH, vocabulary)),
        ("output_norm.weight", (_WIDTH,)),
        ("output.weight", (_WIDTH, vocabulary)),
        ("blk.0.attn_norm.weight", (_WIDTH,)),
        ("blk.0.ffn_norm.weight", (_WIDTH,)),
        *((f"blk.0.{name}.weight", (_WIDTH, _WIDTH)) for name in square),
        ("blk.0.ffn_gate.weight", (_WIDTH, _FORWARD)),
        ("blk.0.ffn_up.weight", (_WIDTH, _FORWARD)),
        ("blk.0.ffn_down.weight", (_FORWARD, _WIDTH)),
    ]


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _array(key: str, kind: int, raw: bytes, count: int) -> bytes:
    return _string(key) + struct.pack("<IIQ", _ARRAY, kind, count) + raw
