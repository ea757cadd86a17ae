#!/bin/sh
# The images of the services, by docker, podman or buildah, whichever works here:  sh deploy/image.sh [SERVICE …]
# BASE names another base image, BUILD_OPTIONS more options for the builder, PREFIX what stands before the names.
set -eu
cd "$(dirname "$0")/.."

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' shared/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
prefix=${PREFIX:-regulars}

if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    builder="docker build"
elif command -v podman >/dev/null; then
    builder="podman build --format docker --ignorefile deploy/Dockerfile.dockerignore"
elif command -v buildah >/dev/null; then
    builder="buildah build --format docker --ignorefile deploy/Dockerfile.dockerignore"
else
    echo "no docker that runs, no podman and no buildah here: an image cannot be built" >&2
    exit 1
fi

[ $# -gt 0 ] || set -- profile scoring campaigns feedback
for service in "$@"; do
    echo "== $prefix/$service:$version with ${builder%% *}"
    # shellcheck disable=SC2086 - several words are meant
    $builder ${BUILD_OPTIONS:-} -f deploy/Dockerfile --build-arg "SERVICE=$service" ${BASE:+--build-arg "BASE=$BASE"} \
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision" -t "$prefix/$service:$version" .
done
