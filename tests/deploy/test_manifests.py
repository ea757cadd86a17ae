"""The Kubernetes manifests, held to what an API server would say and to what the services say of themselves."""

import copy
import re
from typing import Any

import pytest
import yaml

from deploy import new_secrets
from deploy.kubernetes import check
from services.suite.members import NAMES, services
from shared.service import Service

ROLES = ("api", "relay", "react", "work")
OVERLAY = "dev"


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    text, _ = check.rendered(OVERLAY, keep=False)
    return check.load(text)


@pytest.fixture
def deployment(objects):
    """One of them, to be spoiled."""
    return copy.deepcopy(find(objects, "Deployment", "feedback-api"))


def find(objects, kind, name):
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def ours(objects):
    """(name of what makes it, pod) of our own services."""
    return [
        (n, p) for n, p in check.pod_specs(objects) if p["containers"][0]["image"].startswith("regulars/")
    ]


def test_the_kept_rendering_is_of_these_sources_and_without_fault(objects):
    text = check.kept(OVERLAY).read_text()
    assert f"# sources: {check.digest(OVERLAY)}\n" in text
    assert list(check.against_restricted(objects)) == []
    assert list(check.against_the_schemas(objects, check.VERSIONS[-1:])) == []


def test_where_nothing_can_render_the_kept_rendering_is_used_while_it_is_of_these_sources(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    text, by = check.rendered(OVERLAY, keep=True)
    assert text == check.kept(OVERLAY).read_text()
    assert "kept rendering" in by

    monkeypatch.setattr(check, "digest", lambda overlay: "another")
    with pytest.raises(check.Wrong, match="make manifests"):
        check.rendered(OVERLAY, keep=True)


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "x:\n  - {b: 1, c: 2, b: 3}\n"])
def test_a_key_that_stands_twice_is_refused(text):
    with pytest.raises(check.Wrong, match="stands twice"):
        check.load(text)


def test_a_misspelt_field_is_refused(deployment):
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["livenessProb"] = container.pop("livenessProbe")
    (fault,) = check.against_the_schemas([deployment])
    assert "livenessProb" in fault


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda pod: pod.update(hostNetwork=True), "hostNetwork"),
        (lambda pod: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "hostPath"),
        (lambda pod: pod["securityContext"].pop("runAsNonRoot"), "runAsNonRoot"),
        (lambda pod: pod["securityContext"].update(runAsUser=0), "runAsUser"),
        (lambda pod: pod["securityContext"].pop("seccompProfile"), "seccompProfile"),
        (
            lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
            "allowPrivilege",
        ),
        (lambda pod: pod["containers"][0]["securityContext"].update(privileged=True), "privileged"),
        (lambda pod: pod["containers"][0]["securityContext"]["capabilities"].pop("drop"), "capabilities"),
        (
            lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
            "capabilities are added",
        ),
        (lambda pod: pod["containers"][0]["ports"].append({"containerPort": 1, "hostPort": 1}), "hostPort"),
        (lambda pod: pod.update(initContainers=[{"name": "x", "image": "x"}]), "container x"),
    ],
)
def test_a_pod_that_is_not_restricted_is_noticed(deployment, spoil, fault):
    spoil(deployment["spec"]["template"]["spec"])
    assert fault in " ".join(check.against_restricted([deployment]))


def test_the_namespace_enforces_the_restricted_profile_and_warns_of_it(objects):
    (namespace,) = [o for o in objects if o["kind"] == "Namespace"]
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert labels["pod-security.kubernetes.io/warn"] == "restricted"


@pytest.mark.parametrize("service", NAMES)
def test_every_service_has_its_processes_and_nothing_runs_that_it_does_not_know(objects, service):
    for role in ROLES:
        pod = find(objects, "Deployment", f"{service}-{role}")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["args"] == [role]
        assert container["image"].startswith(f"regulars/{service}:")
        assert container["startupProbe"]
        assert container["livenessProbe"]
        assert find(objects, "PodDisruptionBudget", f"{service}-{role}")["spec"]["maxUnavailable"] == 1
    migrate = find(objects, "Job", f"{service}-migrate")["spec"]["template"]["spec"]["containers"][0]
    assert migrate["args"] == ["migrate"]
    probe = find(objects, "Deployment", f"{service}-api")["spec"]["template"]["spec"]["containers"][0][
        "readinessProbe"
    ]
    assert probe["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize("service", services(), ids=lambda service: service.name)
def test_the_cron_jobs_are_the_services_schedules(objects, service: Service):
    made = {
        tuple(o["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]): o["spec"]
        for o in objects
        if o["kind"] == "CronJob" and o["metadata"]["labels"]["app.kubernetes.io/name"] == service.name
    }
    assert {key: spec["schedule"] for key, spec in made.items()} == {
        ("job", entry.name): entry.cron for entry in service.schedule
    }
    settings = next(
        o for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"].startswith("settings-")
    )
    for spec in made.values():
        assert spec["concurrencyPolicy"] == "Forbid"
        assert spec["timeZone"] == settings["data"]["REGULARS_TIME_ZONE"]


@pytest.mark.parametrize("service", services(), ids=lambda service: service.name)
def test_settings_and_secrets_together_are_all_that_a_service_cannot_start_without(objects, service: Service):
    (settings,) = [
        o for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"].startswith("settings-")
    ]
    secret = new_secrets.new_secrets("postgresql://regulars:PASSWORD@postgres:5432/{service}")[service.name]
    read = service.settings.from_environment(service.name, settings["data"] | secret)
    assert read.database_url.endswith(f"@postgres:5432/{service.name}")
    assert read.is_kafka()
    assert not set(settings["data"]) & set(secret), "a secret stands in the open"


def test_every_pod_of_ours_gets_the_settings_by_their_hash_and_the_secrets_of_its_own_service(objects):
    pods = ours(objects)
    assert len(pods) == 4 * 5 + sum(len(service.schedule) for service in services())
    for name, pod in pods:
        service = pod["containers"][0]["image"].split("/")[1].split(":")[0]
        settings, secret = pod["containers"][0]["envFrom"]
        assert re.fullmatch(r"settings-[a-z0-9]{10}", settings["configMapRef"]["name"]), name
        assert secret == {"secretRef": {"name": f"{service}-secrets"}}, name


def test_no_pod_of_ours_has_a_token_a_writable_image_or_an_open_end(objects):
    accounts = {o["metadata"]["name"]: o for o in objects if o["kind"] == "ServiceAccount"}
    for name, pod in ours(objects):
        assert pod["automountServiceAccountToken"] is False, name
        assert accounts[pod["serviceAccountName"]]["automountServiceAccountToken"] is False, name
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        assert (
            set(container["resources"]["requests"])
            == set(container["resources"]["limits"])
            == {"cpu", "memory"}
        )


def test_a_pod_has_time_to_finish_what_it_began(objects):
    from shared.processes import GRACE

    for _, pod in ours(objects):
        if "terminationGracePeriodSeconds" in pod:
            sleep = (
                pod["containers"][0]
                .get("lifecycle", {})
                .get("preStop", {})
                .get("sleep", {})
                .get("seconds", 0)
            )
            assert pod["terminationGracePeriodSeconds"] > GRACE + sleep


def test_everything_that_selects_finds_what_it_means(objects):
    templates = [
        o["spec"]["template"]["metadata"]["labels"] for o in objects if "template" in o.get("spec", {})
    ]
    for each in objects:
        selector = each.get("spec", {}).get("selector")
        if each["kind"] in ("Service", "PodDisruptionBudget") and selector:
            labels = selector.get("matchLabels", selector)
            assert sum(labels.items() <= template.items() for template in templates) == 1, check.named(each)


def test_the_ingress_gives_the_same_paths_as_one_machine(objects):
    (ingress,) = [o for o in objects if o["kind"] == "Ingress"]
    paths = ingress["spec"]["rules"][0]["http"]["paths"]
    assert {p["path"]: p["backend"]["service"]["name"] for p in paths} == {f"/{n}": f"{n}-api" for n in NAMES}


def _may_reach(policies, labels, asked):
    """Whether a pod with ``labels`` may open the api of ``asked``, by the policies' ingress side."""
    target = {
        "app.kubernetes.io/name": asked,
        "app.kubernetes.io/component": "api",
        "app.kubernetes.io/part-of": "regulars",
    }
    for policy in policies:
        if "Ingress" not in policy["spec"]["policyTypes"] or not _selects(
            policy["spec"]["podSelector"], target
        ):
            continue
        for rule in policy["spec"].get("ingress", []):
            if {"port": "http"} in rule["ports"] and any(
                "podSelector" in peer and _selects(peer["podSelector"], labels) for peer in rule["from"]
            ):
                return True
    return False


def _selects(selector, labels):
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        e["operator"] == "In" and labels.get(e["key"]) in e["values"]
        for e in selector.get("matchExpressions", [])
    )


def test_services_may_ask_whom_the_table_of_callers_names_and_nobody_else(objects):
    """architecture.md, "Who is calling": all ask profile for keys; campaigns asks feedback and scoring; feedback asks
    campaigns; profile asks the other three."""
    policies = [o for o in objects if o["kind"] == "NetworkPolicy"]
    table = {
        (caller, asked)
        for caller in NAMES
        for asked in NAMES
        if _may_reach(
            policies,
            {
                "app.kubernetes.io/name": caller,
                "app.kubernetes.io/component": "work",
                "app.kubernetes.io/part-of": "regulars",
            },
            asked,
        )
    }
    assert table == {(caller, "profile") for caller in NAMES} | {
        ("campaigns", "feedback"),
        ("campaigns", "scoring"),
        ("feedback", "campaigns"),
        ("profile", "scoring"),
        ("profile", "campaigns"),
        ("profile", "feedback"),
    }
    assert find(objects, "NetworkPolicy", "default-deny")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }


def test_compose_listens_on_this_machine_only_and_watches_everything():
    compose = yaml.safe_load((check.FOLDER.parent / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:${") for port in service.get("ports", [])), name
        assert service["healthcheck"], name
    assert {f"{s}-{r}" for s in NAMES for r in (*ROLES, "migrate")} <= set(compose["services"])


def test_new_secrets_never_put_the_admin_key_into_a_secret():
    made = new_secrets.new_secrets("postgresql://regulars:PASSWORD@postgres/{service}")
    assert made["admin"]["key"] not in new_secrets.as_kubernetes(made)
    assert "PASSWORD@" not in new_secrets.as_kubernetes(made)
    listed = yaml.safe_load(new_secrets.as_kubernetes(made))["items"]
    assert {item["metadata"]["name"] for item in listed} == {"postgres", *(f"{n}-secrets" for n in NAMES)}
    assert list(check.against_the_schemas(listed)) == []
