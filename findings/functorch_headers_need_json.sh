#!/usr/bin/env bash
# torch 2.13.0 and 2.15.0: the header ATen/functorch/DynamicLayer.h that the wheel contains includes nlohmann/json.hpp,
# which the wheel does not contain. An extension that asks whether it runs inside torch.func does not compile with
# torch's include folders alone.
#
# Seen:  fatal error: nlohmann/json.hpp: No such file or directory
# cuda/registration/missing/ declares the little that the header names.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-deps torch==2.13.0
include=$(echo "$folder"/venv/lib/python3*/site-packages/torch/include)

echo '#include <ATen/functorch/DynamicLayer.h>' > "$folder/alone.cpp"
if c++ -std=c++20 -fsyntax-only -I "$include" "$folder/alone.cpp" 2> "$folder/said"; then
    echo "it compiles" && exit 1
fi
grep --only-matching 'fatal error: nlohmann/json.hpp: No such file or directory' "$folder/said"
