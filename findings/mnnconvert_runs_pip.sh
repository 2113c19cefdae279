#!/usr/bin/env bash
# MNN 3.6.1: its command mnnconvert, also when only imported, runs `pip install -U aliyun-log-python-sdk` with the first
# pip of the path, whichever environment that belongs to. With the package there, every conversion is reported to a
# server, with an identifier of the machine. The package needs protobuf below 6, so that pip takes a newer one away.
#
# Seen:  install -U aliyun-log-python-sdk
# dsct's programs call the converter below the command, `_tools.mnnconvert`, which does neither. This one puts a pip
# first that only writes down what it was asked.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet MNN==3.6.1 numpy==2.2.6

mkdir "$folder/first"
printf '#!/bin/sh\necho "$@" >> "%s/asked"\nexit 1\n' "$folder" > "$folder/first/pip"
chmod +x "$folder/first/pip"
PATH="$folder/first:$PATH" "$folder/venv/bin/python" -c 'import MNN.tools.mnnconvert' > /dev/null
sort --unique "$folder/asked"
[ "$(sort --unique "$folder/asked")" = "install -U aliyun-log-python-sdk" ]
