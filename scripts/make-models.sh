#!/usr/bin/env bash
# Makes a bundle of the default model with the project's own adapters (Models/MODEL_CARD.md), unless it is there with just these:
# make-models.sh MEMVP SOURCE-DIR BUNDLE-DIR int8|f32
set -euo pipefail
memvp=$1 source=$2 bundle=$3 precision=$4
here=$(cd "$(dirname "$0")" && pwd)
adapters="captions:caption vqa:ask"  # NAME of Models/NAME.gguf : task
complete() {
    [ -e "$bundle/model.yaml" ] || return 1
    for adapter in $adapters; do
        grep -q "$(sha256sum "$here/../Models/${adapter%%:*}.gguf" | cut -d' ' -f1)" "$bundle/model.yaml" || return 1
        grep -q "^  ${adapter##*:}: \"${adapter%%:*}\"" "$bundle/model.yaml" || return 1
    done
}
if complete; then exit 0; fi
"$here/fetch-models.sh" "$source"
rm -rf "$bundle.new"
"$memvp" convert default --language "$source/language.gguf" --vision "$source/vision.pth" --precision "$precision" \
    --out "$bundle.new"
for adapter in $adapters; do
    "$memvp" convert adapter "$here/../Models/${adapter%%:*}.gguf" --base "$bundle.new" --name "${adapter%%:*}" \
        --tasks "${adapter##*:}"
done
# What somebody trained and promoted is not this script's to delete: it is put aside.
own() {
    [ -d "$bundle/adapters" ] || return 1
    grep -q '^previous:' "$bundle/model.yaml" 2>/dev/null && return 0
    for file in "$bundle"/adapters/*; do
        case " $adapters " in *" $(basename "$file" .gguf):"*) ;; *) [ ! -e "$file" ] || return 0 ;; esac
    done
    return 1
}
if own; then
    aside=$bundle.before
    for ((n = 2; ; n++)); do
        [ -e "$aside" ] || break
        aside=$bundle.before-$n
    done
    mv "$bundle" "$aside"
    echo "memvpd: $bundle had adapters of yours; it stands as $aside" >&2
fi
rm -rf "$bundle"
mv "$bundle.new" "$bundle"
