#!/bin/sh
# The images of the services, by docker, podman or buildah, whichever works here:  sh deploy/image.sh [SERVICE …]
# BUILDER names one of them, BASE another base image, BUILD_OPTIONS more options, PREFIX what stands before the names.
set -eu
cd "$(dirname "$0")/.."

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' shared/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
prefix=${PREFIX:-regulars}

if [ -z "${BUILDER:-}" ]; then
    if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
        BUILDER=docker
    else
        BUILDER=$(command -v podman || command -v buildah) || {
            echo "no docker that runs, no podman and no buildah here: an image cannot be built" >&2
            exit 1
        }
    fi
fi
case $BUILDER in
*docker) how= ;; # BuildKit finds Dockerfile.dockerignore beside the Dockerfile
*) how="--layers --format docker --ignorefile deploy/Dockerfile.dockerignore" ;;
esac

[ $# -gt 0 ] || set -- profile scoring campaigns feedback
for service in "$@"; do
    echo "== $prefix/$service:$version with ${BUILDER##*/}"
    # shellcheck disable=SC2086 - several words are meant
    "$BUILDER" build $how ${BUILD_OPTIONS:-} -f deploy/Dockerfile --build-arg "SERVICE=$service" ${BASE:+--build-arg "BASE=$BASE"} \
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision" -t "$prefix/$service:$version" .
done
