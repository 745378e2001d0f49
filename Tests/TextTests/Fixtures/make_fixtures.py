#!/usr/bin/env python3
"""Makes the fixtures of TextTests with tokenizers written by others. Needs (PyPI): llama-cpp-python, tokenizers, gguf,
sentencepiece, protobuf. Never run by the tests.

    make_fixtures.py SMOLLM2.gguf BYTE_LEVEL_GOLDEN.json TOKENIZER.model SENTENCEPIECE_GOLDEN.json

byte-level.tsv       text (JSON) and ids (four hexadecimal digits each) by llama.cpp, control tokens not parsed;
                     checked against Hugging Face tokenizers, whose differences are counted below
byte-level-golden.json, sentencepiece-golden.json   rows taken from the two golden files
sentencepiece.tsv    vocabulary, text (JSON), ids (as above), decoded text (JSON) by sentencepiece
sentencepiece-decode.tsv   vocabulary, random ids, decoded text (JSON) by sentencepiece
sentencepiece-*.json pieces, scores and types of the vocabularies; `tiny` is TOKENIZER.model, the others are made here
"""
import json
import os
import random
import sys
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
gguf_path, bpe_golden_path, sp_path, sp_golden_path = sys.argv[1:5]

WORDS = ("a the man woman child dog cat is are was running through grass Question Answer What colour naïve café "
         "München Ελληνικά тест 日本語 مرحبا हिन्दी ไทย 한국어 don't I'LL we've they'RE it's 'tis o'clock x86_64 v1.2.3 "
         "1234 3.14 ½ ² ١٢٣ Ⅷ ㊿ e-mail http://a.example/?q=1 foo_bar CamelCase <tag> {json} \"quoted\" #1 @me").split()
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u2003", "\u3000", " \n ", "\u0085", "\u2028", "\u200b"]
SPECIALS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "<unk>", "<0x41>", "<|im_", "end|>"]
ODD = ["👩‍👩‍👧‍👦🏽", "🇨🇭", "a\u0301", "ﬁ", "ﷺ", "\u200d", "\ufeff", "\ufffd", "\u2581", "\u0000", "\u0004", "\u0006",
       "\U000f1234", "\U00041234", "\U0010ffff", "𝟙𝟚", "𐍈", "𠀀", "İ", "ß", "''", "'s", "'S", "'ll", "'LL", "'d1", "!'t",
       "......", "-----", "∑∞", "€£¥", "\u0301\u0301", "\u001c", "\u007f"]
BLOCKS = [(0x20, 0x7F), (0x20, 0x7F), (0xA0, 0x250), (0x370, 0x590), (0x5D0, 0x700), (0x900, 0xA00), (0x2000, 0x2070),
          (0x2070, 0x2300), (0x2460, 0x2800), (0x3040, 0x3400), (0x4E00, 0x5000), (0xAC00, 0xAD00), (0xFF00, 0xFFF0),
          (0x10330, 0x10350), (0x1D400, 0x1D800), (0x1F300, 0x1F700)]


def scalar(rng):
    """A random assigned scalar: unassigned ones change their category from one version of Unicode to the next."""
    while True:
        low, high = rng.choice(BLOCKS)
        character = chr(rng.randrange(low, high))
        if unicodedata.category(character) != "Cn":
            return character


def text(rng, longest):
    parts = []
    for _ in range(rng.randint(1, longest)):
        kind = rng.random()
        if kind < 0.35:
            parts.append(rng.choice(WORDS))
        elif kind < 0.55:
            parts.append(rng.choice(SPACES))
        elif kind < 0.62:
            parts.append(rng.choice(ODD))
        elif kind < 0.66:
            parts.append(rng.choice(SPECIALS))
        elif kind < 0.72:
            parts.append(rng.choice("aA1 .!\n'é日") * rng.randint(2, 9))
        elif kind < 0.85:
            parts.append("".join(scalar(rng) for _ in range(rng.randint(1, 3))))
        else:
            parts.append(rng.choice(WORDS) + " " + rng.choice(WORDS))
    return "".join(parts)


def hexadecimal(ids):
    return "".join(f"{i:04x}" for i in ids)


def write(name, rows):
    with open(os.path.join(HERE, name), "w", encoding="utf-8", newline="\n") as file:
        file.writelines(row + "\n" for row in rows)


def dump(value):
    # Control and format characters are escaped, so that every row stays one line in every editor.
    return "".join(c if unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp") else json.dumps(c)[1:-1]
                   for c in json.dumps(value, ensure_ascii=False))


def byte_level():
    import gguf
    import llama_cpp
    import tokenizers
    llama = llama_cpp.Llama(gguf_path, vocab_only=True, verbose=False)
    fields = gguf.GGUFReader(gguf_path).fields
    pieces = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    other = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=merges))
    other.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    rng = random.Random(20240521)
    rows, differences = [], []
    seen = set()
    while len(rows) < 2600:
        sample = text(rng, 7)
        if sample in seen:
            continue
        seen.add(sample)
        ids = llama.tokenize(sample.encode(), add_bos=False, special=False)
        if ids != other.encode(sample).ids:
            differences.append(sample)
        rows.append(f"{dump(sample)}\t{hexadecimal(ids)}")
    write("byte-level.tsv", rows)
    numeric = [s for s in differences if any(unicodedata.category(c) in ("No", "Nl") for c in s)]
    missing = [s for s in differences if any(b in (4, 6, 241, 242) for b in s.encode()) and s not in numeric]
    print(f"byte-level.tsv: {len(rows)} rows; Hugging Face differs on {len(differences)}: {len(numeric)} with numeric "
          f"characters that are no digits, {len(missing)} more with bytes that have no token")
    print("others:", [s for s in differences if s not in numeric and s not in missing])
    golden = json.load(open(bpe_golden_path))
    golden_rows = [{"text": r["text"], "ids": r["token_ids"]} for r in golden["text"]] + golden["tokenizer"]
    golden_rows += [{"text": r["greedy_text"], "ids": r["greedy_ids"], "decode": True} for r in golden["text"]]
    write("byte-level-golden.json", [json.dumps(golden_rows, ensure_ascii=False)])


def vocabularies():
    """TOKENIZER.model as it is, and variants with what it lacks: user-defined and unused pieces, no byte fallback."""
    from sentencepiece import sentencepiece_model_pb2 as pb
    tiny = pb.ModelProto()
    tiny.ParseFromString(open(sp_path, "rb").read())

    def copy():
        model = pb.ModelProto()
        model.CopyFrom(tiny)
        return model

    symbols = copy()
    for piece in ["<user>", "grass", "日本", "\u2581\u2581", "  ", "x86"]:
        found = [p for p in symbols.pieces if p.piece == piece]
        entry = found[0] if found else symbols.pieces.add(piece=piece, score=0)
        entry.type = pb.ModelProto.SentencePiece.USER_DEFINED
    for piece in ["\u2581the", "in", "ing", "\u2581runn", "\u2581man", "an"]:
        for p in symbols.pieces:
            if p.piece == piece:
                p.type = pb.ModelProto.SentencePiece.UNUSED
    for p in symbols.pieces:
        if p.piece == "\u2581dog":
            p.type = pb.ModelProto.SentencePiece.CONTROL
    plain = copy()
    kept = [p for p in tiny.pieces if p.type != pb.ModelProto.SentencePiece.BYTE and p.piece not in ("e", "1")]
    del plain.pieces[:]
    plain.pieces.extend(kept)
    for p in plain.pieces:
        # Few different scores, so that many merges tie.
        p.score = float(int(p.score) // 40)
    plain.trainer_spec.byte_fallback = False
    plain.normalizer_spec.add_dummy_prefix = False
    return {"tiny": tiny, "symbols": symbols, "plain": plain}


def sentencepiece_rows():
    import sentencepiece
    rng = random.Random(20240522)
    encoded, decoded = [], []
    for name, model in vocabularies().items():
        processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
        value = {"pieces": [p.piece for p in model.pieces], "scores": [p.score for p in model.pieces],
                 "types": [p.type for p in model.pieces], "dummy_prefix": model.normalizer_spec.add_dummy_prefix}
        write(f"sentencepiece-{name}.json", [json.dumps(value, ensure_ascii=False)])
        for _ in range(400):
            sample = text(rng, 9)
            ids = processor.encode(sample)
            encoded.append("\t".join([name, dump(sample), hexadecimal(ids), dump(processor.decode(ids))]))
        special = [i for i in range(len(model.pieces)) if model.pieces[i].type != 1]
        for index in range(200):
            count = rng.randint(1, 8)
            ids = [rng.choice(special) if rng.random() < 0.6 else rng.randrange(len(model.pieces)) for _ in range(count)]
            if rng.random() < 0.3:
                ids = [byte + 3 for byte in rng.choice(["é", "日本", "🚀"]).encode()] + ids if name != "plain" else ids
            if index < 40:  # how a text begins matters most
                ids.insert(0, rng.choice([i for i in special if model.pieces[i].type != 6]))
            decoded.append("\t".join([name, hexadecimal(ids), dump(processor.decode(ids))]))
    write("sentencepiece.tsv", encoded)
    write("sentencepiece-decode.tsv", decoded)
    golden = json.load(open(sp_golden_path))
    write("sentencepiece-golden.json", [json.dumps(
        {"prompts": [p[0] for p in golden["prompts"]], "token_ids": golden["token_ids"],
         "generated_ids": golden["generated_ids"], "generated": golden["generated"]}, ensure_ascii=False)])


byte_level()
sentencepiece_rows()
