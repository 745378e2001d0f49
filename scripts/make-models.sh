#!/usr/bin/env bash
# Converts the default model into a bundle: make-models.sh MEMVP SOURCE-DIR BUNDLE-DIR int8|f32
# The reference adapter comes from MEMVP_REFERENCE_ADAPTER; a bundle without it answers nothing yet (README).
set -euo pipefail
memvp=$1 source=$2 bundle=$3 precision=$4
here=$(cd "$(dirname "$0")" && pwd)
"$here/fetch-models.sh" "$source"
rm -rf "$bundle"
"$memvp" convert default --language "$source/language.gguf" --vision "$source/vision.pth" \
    --precision "$precision" --out "$bundle"
adapter=${MEMVP_REFERENCE_ADAPTER:-}
if [ -n "$adapter" ] && [ -e "$adapter" ]; then
    "$memvp" convert adapter "$adapter" --base "$bundle" --name captions --tasks caption,ask
else
    echo "memvpd: no adapter: set MEMVP_REFERENCE_ADAPTER to captions-reference.safetensors (see README)" >&2
fi
