"""Makes the fixtures of ModelFileTests with other people's code; README.md says with which versions.

    python make_fixtures.py ORACLE    # ORACLE: the directory with checkpoint-19.pth and the other official files

Values come from fixed seeds, so a second run gives the same goldens. Only the legacy streams differ from run to run,
since torch names storages by their addresses there.
"""
import collections
import pathlib
import shutil
import struct
import sys

import gguf
import numpy as np
import safetensors.torch
import torch
from sentencepiece import sentencepiece_model_pb2

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20240515)


def hexes(values):
    """Bit patterns of float32 values, as the tests compare them."""
    return " ".join(f"{bits:08x}" for bits in np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).ravel())


def line(name, kind, shape, rest):
    return "\t".join([name, kind, ",".join(str(n) for n in shape), rest]) + "\n"


def quantised_blocks(kind, scales):
    """Blocks of random bytes with the given binary16 scales (as bits): zero, subnormal, negative, largest."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (len(scales), size), dtype=np.uint8)
    blocks[:, 0:2] = np.array(scales, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    if kind == gguf.GGMLQuantizationType.Q4_1:
        minima = np.array([0x0003, 0xBC00, 0x0000, 0x7BFF], dtype=np.uint16)[: len(scales)]
        blocks[:, 2:4] = minima.view(np.uint8).reshape(-1, 2)
    return blocks


def make_gguf():
    kinds = gguf.GGMLQuantizationType
    path = HERE / "types.gguf"
    writer = gguf.GGUFWriter(path, "fixture")
    writer.add_uint8("a.u8", 200)
    writer.add_int8("a.i8", -100)
    writer.add_uint16("a.u16", 60000)
    writer.add_int16("a.i16", -30000)
    writer.add_uint32("a.u32", 4_000_000_000)
    writer.add_int32("a.i32", -2_000_000_000)
    writer.add_float32("a.f32", 1.5e-5)
    writer.add_uint64("a.u64", 2**64 - 1)
    writer.add_int64("a.i64", -(2**63))
    writer.add_float64("a.f64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_string("a.string", "naïve 日本")
    writer.add_array("l.strings", ["", "a", "日本"])
    writer.add_array("l.i32", [1, -2, 3])
    writer.add_array("l.f32", [0.5, -1.25])
    writer.add_array("l.bool", [True, False, True])
    goldens = []
    plain = rng.standard_normal((3, 5)).astype(np.float32)
    for name, values in [
        ("f32", plain),
        ("f16", plain.astype(np.float16)),
        ("cube", rng.standard_normal((2, 3, 4)).astype(np.float32)),
    ]:
        writer.add_tensor(name, values)
        goldens.append(line(name, "F16" if name == "f16" else "F32", values.shape, hexes(values.astype(np.float32))))
    bf16 = (plain.view(np.uint32) >> 16).astype(np.uint16)
    writer.add_tensor("bf16", bf16.view(np.uint8), raw_dtype=kinds.BF16)
    goldens.append(line("bf16", "BF16", plain.shape, hexes((bf16.astype(np.uint32) << 16).view(np.float32))))
    scales = [0x0001, 0x0000, 0xB800, 0x7BFF]
    for kind in [kinds.Q8_0, kinds.Q4_0, kinds.Q4_1]:
        blocks = quantised_blocks(kind, scales).reshape(2, -1)
        writer.add_tensor(kind.name.lower(), blocks, raw_dtype=kind)
        goldens.append(line(kind.name.lower(), kind.name, (2, 64), hexes(gguf.dequantize(blocks, kind))))
    writer.add_tensor("i8", np.array([[-128, 127], [0, -1]], dtype=np.int8))
    writer.add_tensor("i32", np.array([-(2**31), 2**31 - 1, 7], dtype=np.int32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (HERE / "types.gguf.golden").write_text("".join(goldens))

    tiny = gguf.GGUFWriter(HERE / "tiny.gguf", "tiny")
    tiny.add_array("t", ["ab", "c"])
    tiny.add_tensor("w", np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=np.float32))
    tiny.write_header_to_file()
    tiny.write_kv_data_to_file()
    tiny.write_tensors_to_file()
    tiny.close()

    refused = gguf.GGUFWriter(HERE / "q6k.gguf", "refused")
    refused.add_tensor("w", np.zeros((1, 210), dtype=np.uint8), raw_dtype=kinds.Q6_K)
    refused.write_header_to_file()
    refused.write_kv_data_to_file()
    refused.write_tensors_to_file()
    refused.close()


def torch_tensors():
    """One tensor of each type, and the layouts that torch.save keeps: transposed, sliced, shared, scalar, empty."""
    generator = torch.Generator().manual_seed(7)
    base = torch.randn(4, 6, generator=generator)
    state = collections.OrderedDict()
    state["float"] = torch.randn(2, 3, generator=generator)
    state["half"] = torch.tensor([1.0, -0.0, 6e-8, 65504.0]).half()
    state["bfloat"] = torch.tensor([1.0, -3.0e38, 1e-40]).bfloat16()
    state["double"] = torch.tensor([0.1, -1e300, 1e-50], dtype=torch.float64)
    state["long"] = torch.tensor([2**63 - 1, -(2**63)], dtype=torch.int64)
    state["int"] = torch.tensor([[-7], [9]], dtype=torch.int32)
    state["short"] = torch.tensor([-32768, 32767], dtype=torch.int16)
    state["char"] = torch.tensor([-128, 127], dtype=torch.int8)
    state["byte"] = torch.tensor([0, 255], dtype=torch.uint8)
    state["bool"] = torch.tensor([True, False])
    state["transposed"] = base.t()
    state["sliced"] = base[1:3, 1::2]
    state["permuted"] = torch.randn(2, 3, 4, generator=generator).permute(2, 0, 1)
    state["shared"] = base.view(-1)[5:9]
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 3)
    state["parameter"] = torch.nn.Parameter(torch.randn(2, generator=generator))
    return state


def golden_lines(tensors):
    names = {
        torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64", torch.int64: "I64",
        torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
    }
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        if tensor.is_floating_point():
            rest = hexes(tensor.to(torch.float32).contiguous().numpy())
        else:
            rest = " ".join(str(int(v)) for v in tensor.contiguous().view(-1).tolist())
        yield line(name, names[tensor.dtype], tensor.shape, rest)


class Nested(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(2, 3)
        self.register_buffer("steps", torch.tensor(5))
        self.sizes = [1, 2]

    def forward(self, x):
        return self.inner(x) * self.sizes[0]


def make_torch():
    tensors = torch_tensors()
    (HERE / "types.torch.golden").write_text("".join(golden_lines(tensors)))
    torch.save(tensors, HERE / "types-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(tensors, HERE / "types-archive.pth")
    nested = {"model": {"a.b": torch.tensor([1.0, 2.0])}, "epoch": 19, "list": [torch.tensor([3.0]), "text"], 4: torch.tensor([4.0])}
    torch.save(nested, HERE / "nested.pth")
    tiny = collections.OrderedDict(w=torch.tensor([[1.0, 2.0], [3.0, 4.0]]).t())
    torch.save(tiny, HERE / "tiny-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(tiny, HERE / "tiny-archive.pth")
    torch.save(collections.OrderedDict(w=torch.zeros(1).expand(1000)), HERE / "expanded.pth")
    torch.manual_seed(3)
    module = Nested()
    torch.jit.script(module).save(str(HERE / "script.pt"))
    (HERE / "script.golden").write_text("".join(golden_lines(module.state_dict())))
    stored = {name: t.detach().contiguous().clone() for name, t in tensors.items()}
    safetensors.torch.save_file(stored, HERE / "types.safetensors", metadata={"made by": "fixture \"ü\"\n"})
    safetensors.torch.save_file({"w": torch.tensor([[1.0, 2.0]])}, HERE / "tiny.safetensors")


def fnv(data, state=0xCBF29CE484222325):
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return state


def digests(tensors):
    for name, tensor in tensors.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        values = tensor.detach()
        if values.is_floating_point():
            data = values.to(torch.float32).contiguous().numpy().tobytes()
        else:
            data = values.to(torch.int64).contiguous().numpy().tobytes()
        yield line(name, kind, tensor.shape, f"{fnv(data):016x}")


def make_official(oracle):
    for name in ["checkpoint-19.pth", "clip-state-dict.pt", "clip-torchscript.pt", "7B/consolidated.00.pth"]:
        target = HERE / pathlib.Path(name).name
        shutil.copyfile(oracle / name, target)
        target.chmod(0o644)
        if "torchscript" in name:
            tensors = torch.jit.load(str(target), map_location="cpu").state_dict()
        else:
            tensors = torch.load(target, map_location="cpu", weights_only=True)
        if "model" in tensors:
            tensors = {f"model.{key}": value for key, value in tensors["model"].items()}
        (HERE / (target.name + ".digests")).write_text("".join(digests(tensors)))
    target = HERE / "tokenizer.model"
    shutil.copyfile(oracle / "tokenizer.model", target)
    target.chmod(0o644)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(target.read_bytes())
    rows = [
        f"{piece.piece.encode().hex()}\t{struct.unpack('<I', struct.pack('<f', piece.score))[0]:08x}\t{piece.type}\n"
        for piece in model.pieces
    ]
    (HERE / "tokenizer.model.golden").write_text("".join(rows))


make_gguf()
make_torch()
make_official(pathlib.Path(sys.argv[1]))
