"""Holds rendered manifests against the schemas of the oldest and newest Kubernetes that are carried, strictly; and sees
that what belongs together does: selectors meet labels, probes and services meet ports, autoscalers meet Deployments. The
binary, its first argument, has nothing to say against the variables and the configuration that a pod gets."""

import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

VERSIONS = ["1.25", "1.37"]
# Of an operator, whose schema is not among them: its members are looked at below.
FOREIGN = {"ServiceMonitor"}
KINDS = {
    "embedded": {"StatefulSet": 1, "Service": 1, "NetworkPolicy": 1},
    "distributed": {"Deployment": 3, "Service": 3, "PodDisruptionBudget": 3, "HorizontalPodAutoscaler": 3, "NetworkPolicy": 1},
    "embedded-everything": {"StatefulSet": 1, "Service": 1, "NetworkPolicy": 1, "ConfigMap": 1, "ServiceMonitor": 2},
    "distributed-everything": {"Deployment": 3, "Service": 3, "PodDisruptionBudget": 3, "HorizontalPodAutoscaler": 2,
                               "NetworkPolicy": 1, "ConfigMap": 1, "ServiceMonitor": 2},
}


def meets(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


def check(path):
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    count = {}
    for document in documents:
        kind = document["kind"]
        count[kind] = count.get(kind, 0) + 1
        for version in VERSIONS:
            if kind not in FOREIGN:
                kubernetes_validate.validate(document, version, strict=True)
    assert count == KINDS[path.stem], f"{path.stem}: {count}"
    assert len({(document["kind"], document["metadata"]["name"]) for document in documents}) == len(documents), "equal names"

    workloads = [document for document in documents if document["kind"] in ("StatefulSet", "Deployment")]
    pods = [workload["spec"]["template"] for workload in workloads]
    texts = [document["data"]["streamgauge.toml"] for document in documents if document["kind"] == "ConfigMap"]
    for workload in workloads:
        check_workload(workload)
        check_settings(workload, texts)
    for document in documents:
        check_links(document, workloads, pods, documents)
    return len(documents)


def check_workload(workload):
    template = workload["spec"]["template"]
    assert meets(workload["spec"]["selector"]["matchLabels"], template["metadata"]["labels"]), workload["metadata"]
    container = template["spec"]["containers"][0]
    ports = {port["name"] for port in container["ports"]}
    paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    role = template["metadata"]["labels"]["app.kubernetes.io/component"]
    assert paths["liveness"] == "/livez", paths
    assert paths["readiness"] == ("/readyz" if role == "all" else f"/readyz?role={role}"), paths
    assert all(container[f"{probe}Probe"]["httpGet"]["port"] in ports for probe in paths)
    roles = "process,archive" if role == "process" else role
    assert (f"--roles={roles}" in container["args"]) == (role != "all"), container["args"]
    volumes = {volume["name"] for volume in template["spec"].get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes, volumes


def check_settings(workload, texts):
    """Has the binary judge what the pod is told, with a word for each secret."""
    container = workload["spec"]["template"]["spec"]["containers"][0]
    variables = {variable["name"]: variable.get("value", "secret" * 6) for variable in container["env"]}
    with tempfile.TemporaryDirectory() as folder:
        command = [Path(sys.argv[1]).resolve(), "config", "check"]
        if texts:
            Path(folder, "streamgauge.toml").write_text(texts[0])
            assert "--config=/etc/streamgauge/streamgauge.toml" in container["args"], container["args"]
        done = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{workload['metadata']['name']}: {done.stdout}{done.stderr}"


def check_links(document, workloads, pods, documents):
    kind, spec = document["kind"], document.get("spec", {})
    selected = {"Service": spec.get("selector"), "PodDisruptionBudget": (spec.get("selector") or {}).get("matchLabels"),
                "NetworkPolicy": (spec.get("podSelector") or {}).get("matchLabels")}.get(kind)
    if selected:
        assert any(meets(selected, pod["metadata"]["labels"]) for pod in pods), f"{kind} selects nothing"
    if kind == "HorizontalPodAutoscaler":
        target = next(workload for workload in workloads if workload["metadata"]["name"] == spec["scaleTargetRef"]["name"])
        assert "replicas" not in target["spec"], "the autoscaler and the Deployment would fight"
    if kind == "ServiceMonitor":
        found = [other for other in documents if other["kind"] == "Service"
                 and meets(spec["selector"]["matchLabels"], other["metadata"]["labels"])]
        assert found, "the ServiceMonitor finds no service"
        ports = {port["name"] for service in found for port in service["spec"]["ports"]}
        assert all(endpoint["port"] in ports for endpoint in spec["endpoints"]), ports


total = sum(check(Path(path)) for path in sys.argv[2:])
print(f"{total} manifests are what Kubernetes {' and '.join(VERSIONS)} take, and the server can be set to (ServiceMonitors by their links alone)")
