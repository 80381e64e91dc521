#!/usr/bin/env bash
# assemble.sh PYTHON TARGET: the contents of the socket tier's image, made in TARGET: lib/ (pinned third-party packages)
# and app/ (our code), all compiled by PYTHON, which must be the interpreter that will run them.
#
# The Dockerfile and the tests call this one script: what the tests start is what the image holds.
set -euo pipefail
python="$1"
target="$2"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

if [ -e "$target" ] && [ -n "$(ls -A "$target")" ]; then
  echo "assemble.sh: $target is not empty" >&2
  exit 1
fi
mkdir -p "$target/lib" "$target/app"

"$python" -m pip install --require-hashes --no-deps --only-binary :all: --no-compile --disable-pip-version-check \
  --no-input --quiet --target "$target/lib" -r "$root/requirements/socket_tier.txt"

# botocore describes every service of AWS: only those that the socket tier calls.
find "$target/lib/botocore/data" -mindepth 1 -maxdepth 1 -type d \
  ! -name sqs ! -name sts ! -name ssm ! -name secretsmanager ! -name acm-pca ! -name s3 ! -name sns -exec rm -rf {} +
# Sources that only a compiler or a type checker reads, and the packages' own tests.
find "$target/lib" -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete
find "$target/lib/bin" -type f ! -name dumb-init -delete
find "$target/lib" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +

cp -R "$root/socket_tier" "$root/layers/evpower/python/evpower" "$target/app/"
rm -f "$target/app/socket_tier/Dockerfile" "$target/app/socket_tier/assemble.sh"
find "$target/app" -type d -name __pycache__ -prune -exec rm -rf {} +

# The file system is read-only at run time. Unchecked: files in an image do not change, so no start compares their times.
"$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$target/lib" "$target/app"
chmod -R a+rX "$target"
