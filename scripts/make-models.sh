#!/usr/bin/env bash
# Makes a bundle of the default model, or what is missing of it: make-models.sh MEMVP SOURCE-DIR BUNDLE-DIR int8|f32
# The reference adapter comes from MEMVP_REFERENCE_ADAPTER; a bundle without an adapter answers nothing yet (README).
set -euo pipefail
memvp=$1 source=$2 bundle=$3 precision=$4
here=$(cd "$(dirname "$0")" && pwd)
if [ ! -e "$bundle/model.yaml" ]; then
    "$here/fetch-models.sh" "$source"
    rm -rf "$bundle"
    "$memvp" convert default --language "$source/language.gguf" --vision "$source/vision.pth" \
        --precision "$precision" --out "$bundle"
fi
grep -q '^adapters: {}' "$bundle/model.yaml" || exit 0
adapter=${MEMVP_REFERENCE_ADAPTER:-}
if [ -n "$adapter" ] && [ -e "$adapter" ]; then
    "$memvp" convert adapter "$adapter" --base "$bundle" --name captions --tasks caption,ask
else
    echo "memvpd: no adapter: set MEMVP_REFERENCE_ADAPTER to captions-reference.safetensors (see README)" >&2
fi
