"""Render the manifests and hold them to what an API server would say, without one.

    python deploy/kubernetes/check.py [OVERLAY …]        # all overlays when none is named

Renders with ``kustomize`` or ``kubectl kustomize`` and keeps the result in ``rendered/OVERLAY.yaml``, so that a review shows
what a change does to the objects. Where neither program is, the kept rendering is checked instead – after making sure
that it was made from the sources as they are. Either way every object must be valid by the schemas of the API server
(unknown fields refused), no YAML key may stand twice (kubectl would silently take the last), and every pod must meet the
"restricted" Pod Security Standard.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

FOLDER = Path(__file__).resolve().parent
OVERLAYS = tuple(sorted(path.name for path in (FOLDER / "overlays").iterdir() if path.is_dir()))
VERSIONS = ("1.34", "1.37")  # the oldest that is still supported upstream, and the newest
COMMAND_LINES = (("kustomize", "build"), ("kubectl", "kustomize"))

Object = dict[str, Any]


class Wrong(Exception):  # noqa: N818 - a verdict, not an error of the program
    """What is wrong with the manifests, one line each."""


class _Loader(yaml.CSafeLoader):
    """Refuses a mapping with one key twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
    for key in keys:
        if keys.count(key) > 1:
            raise Wrong(f"{node.start_mark.name}:{node.start_mark.line + 1}: the key {key!r} stands twice")
    return dict(zip(keys, (loader.construct_object(v, deep=True) for _, v in node.value), strict=True))  # type: ignore[no-untyped-call]


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(text: str) -> list[Object]:
    """The objects of a YAML stream; raises Wrong for a key that stands twice."""
    return [document for document in yaml.load_all(text, _Loader) if document]


# --- rendering


def sources(overlay: str) -> list[Path]:
    """What an overlay is made from, in a fixed order."""
    return sorted(
        path
        for folder in (FOLDER / "base", FOLDER / "overlays" / overlay)
        for path in folder.rglob("*")
        if path.is_file()
    )


def digest(overlay: str) -> str:
    """Of the sources: a kept rendering names the ones that it was made from."""
    summed = hashlib.sha256()
    for path in sources(overlay):
        content = path.read_bytes()
        summed.update(f"{path.relative_to(FOLDER).as_posix()}\0{len(content)}\0".encode() + content)
    return summed.hexdigest()


def renderer() -> Sequence[str] | None:
    return next((command for command in COMMAND_LINES if shutil.which(command[0])), None)


def render(overlay: str, command: Sequence[str]) -> str:
    """The rendering in one order and one spelling, so that every version of the renderer gives the same text."""
    done = subprocess.run(
        [*command, str(FOLDER / "overlays" / overlay)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Wrong(done.stderr.strip())
    objects = sorted(load(done.stdout), key=lambda o: (o["kind"], o["metadata"]["name"]))
    head = f"# Rendered from overlays/{overlay} by deploy/kubernetes/check.py; do not edit.\n# sources: {digest(overlay)}\n"
    return head + "---\n".join(yaml.safe_dump(each, sort_keys=True, width=110) for each in objects)


def kept(overlay: str) -> Path:
    return FOLDER / "rendered" / f"{overlay}.yaml"


def rendered(overlay: str, *, keep: bool) -> tuple[str, str]:
    """The objects' text and who rendered it. With ``keep`` a rendering that changed is written, without it is Wrong."""
    path = kept(overlay)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    command = renderer()
    if command is None:
        if f"# sources: {digest(overlay)}\n" not in before:
            raise Wrong(f"{path} is not of these sources: run `make manifests` where kustomize or kubectl is")
        return before, "the kept rendering (neither kustomize nor kubectl is here)"
    text = render(overlay, command)
    if text != before:
        if not keep:
            raise Wrong(f"{path} is not what the sources give: run `make manifests` and commit it")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return text, command[0]


# --- judging


def named(each: Object) -> str:
    return f"{each['kind']}/{each['metadata']['name']}"


def against_the_schemas(objects: Sequence[Object], versions: Sequence[str] = VERSIONS) -> Iterator[str]:
    for each in objects:
        for version in versions:
            try:
                kubernetes_validate.validate(each, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{named(each)} ({version}): {error.message}"
                break


def pod_specs(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod that the objects would make, under the name of what makes it."""
    for each in objects:
        spec = each.get("spec", {})
        if each["kind"] == "Pod":
            yield named(each), spec
        elif each["kind"] == "CronJob":
            yield named(each), spec["jobTemplate"]["spec"]["template"]["spec"]
        elif isinstance(spec.get("template"), dict):
            yield named(each), spec["template"]["spec"]


_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def against_restricted(objects: Sequence[Object]) -> Iterator[str]:
    """Where a pod breaks the restricted profile of the Pod Security Standards
    (https://kubernetes.io/docs/concepts/security/pod-security-standards/)."""
    for name, pod in pod_specs(objects):
        own = pod.get("securityContext", {})
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(field):
                yield f"{name}: {field}"
        for volume in pod.get("volumes", []):
            kinds = set(volume) - {"name"}
            if not kinds <= _VOLUMES:
                yield f"{name}: a volume of the kind {sorted(kinds - _VOLUMES)}"
        if own.get("sysctls") or own.get("windowsOptions", {}).get("hostProcess"):
            yield f"{name}: sysctls or hostProcess"
        containers = [
            c for k in ("initContainers", "containers", "ephemeralContainers") for c in pod.get(k, [])
        ]
        for container in containers:
            for fault in _container_faults(own, container):
                yield f"{name}, container {container['name']}: {fault}"


def _container_faults(pod: Object, container: Object) -> Iterator[str]:
    own = container.get("securityContext", {})
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("privileged"):
        yield "privileged"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if own.get("runAsUser", pod.get("runAsUser", 1)) == 0:
        yield "runAsUser is 0"
    seccomp = own.get("seccompProfile", pod.get("seccompProfile", {})).get("type")
    if seccomp not in ("RuntimeDefault", "Localhost"):
        yield "no seccompProfile"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "not all capabilities are dropped"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"


def faults(text: str) -> tuple[list[Object], list[str]]:
    objects = load(text)
    return objects, [*against_the_schemas(objects), *against_restricted(objects)]


def main(overlays: Sequence[str]) -> int:
    for path in sorted({path for overlay in overlays for path in sources(overlay)}):
        if path.suffix == ".yaml":
            load(path.read_text(encoding="utf-8"))  # before kustomize takes the last of two keys
    wrong = 0
    for overlay in overlays:
        text, by = rendered(overlay, keep=os.environ.get("CI") != "true")
        objects, found = faults(text)
        for fault in found:
            print(f"{overlay}: {fault}", file=sys.stderr)
        wrong += len(found)
        pods = len(list(pod_specs(objects)))
        if not found:
            print(
                f"manifests: {overlay}: {len(objects)} objects rendered by {by}, valid for Kubernetes"
                f" {' and '.join(VERSIONS)}; {pods} pod templates meet the restricted profile"
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:] or OVERLAYS))
    except Wrong as error:
        print(f"manifests: {error}", file=sys.stderr)
        sys.exit(1)
