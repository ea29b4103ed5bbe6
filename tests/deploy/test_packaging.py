"""What is shipped to run the gateway (image, compose, systemd, Kubernetes) keeps what the documentation promises."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.load import load_all

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
UNIT = (DEPLOY / "systemd" / "spendgate.service").read_text()
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "spendgate.yaml").read_text()))


def manifest(kind: str) -> dict[str, Any]:
    return next(one for one in MANIFESTS if one["kind"] == kind)


def drain_seconds(text: str) -> int:
    return int(re.search(r"drain_seconds = (\d+)", text)[1])  # type: ignore[index]


def test_the_image_has_two_stages_and_runs_without_privileges() -> None:
    first, last = DOCKERFILE.split("\nFROM ")[-2:]
    assert " AS build" in first
    assert "--require-hashes" in first
    assert re.search(r"^USER (?!root)\w+$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert "STOPSIGNAL SIGTERM" in last
    assert "pip install" not in last
    assert re.search(r'^ENTRYPOINT \["spendgate"\]$', last, re.MULTILINE)


@pytest.mark.prove
def test_the_dockerfiles_own_commands_make_a_gateway_that_runs(prove: bool) -> None:
    if not prove:
        pytest.skip("installs everything anew: in make prove only")
    if shutil.which("cc") is None:
        pytest.skip("no C compiler, which the first stage's base image has")
    done = subprocess.run([sys.executable, str(DEPLOY / "try_image.py")], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "healthy, ended cleanly" in done.stdout


def test_the_images_context_holds_what_it_copies() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert ignore[0] == "*"
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in source.split():
            assert f"!{name.removeprefix('./')}" in ignore, name
            assert (ROOT / name).exists()


def test_the_images_health_check_asks_what_the_gateway_answers(tmp_path: Path) -> None:
    from support.gateway import Gateway

    match = re.search(r"HEALTHCHECK .* CMD (\[.*\])", DOCKERFILE)
    assert match is not None
    _, *rest = json.loads(match[1])
    with Gateway(tmp_path, '[providers.simulated]\nkind = "simulated"\n', fresh=True) as gateway:
        command = [sys.executable, *rest]
        good = subprocess.run(command, env={"SPENDGATE_HEALTH_URL": gateway.url + "/healthz"}, timeout=20)
        assert good.returncode == 0
    bad = subprocess.run(
        command, env={"SPENDGATE_HEALTH_URL": gateway.url + "/healthz"}, capture_output=True, timeout=20
    )
    assert bad.returncode != 0


def test_the_configuration_for_containers_is_one() -> None:
    config = load_all(DEPLOY / "config.toml", {"SPENDGATE_ADMIN_TOKEN": "a-token-that-is-long"}).config
    assert config.server.admin_token is not None
    assert config.server.data_dir == re.search(r"^VOLUME (\S+)$", DOCKERFILE, re.MULTILINE)[1]  # type: ignore[index]


def test_compose_wires_gateway_prometheus_and_grafana() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"gateway", "prometheus", "grafana"}
    gateway = services["gateway"]
    assert gateway["read_only"]
    assert gateway["cap_drop"] == ["ALL"]
    assert int(gateway["stop_grace_period"].removesuffix("s")) > drain_seconds((DEPLOY / "config.toml").read_text())
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert scraped[0]["static_configs"][0]["targets"] == ["gateway:8081"]
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), source
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/spendgate.yml").read_text())["providers"][0]
    assert any(volume.split(":")[1] == provider["options"]["path"] for volume in services["grafana"]["volumes"])


def test_kubernetes_probes_ends_gently_and_takes_privileges_away() -> None:
    config = manifest("ConfigMap")["data"]["config.toml"]
    names = dict.fromkeys(re.findall(r"env:(\w+)", config), "a-value-long-enough")
    from gateway.config.load import parse

    parse(config, "config.toml", names, ROOT)
    pod = manifest("StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert manifest("StatefulSet")["spec"]["replicas"] == 1
    assert pod["terminationGracePeriodSeconds"] > drain_seconds(config) + 5
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    mounted = {volume["name"] for volume in container["volumeMounts"]}
    claims = manifest("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert mounted == {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"] for claim in claims}
    ports = {port["name"] for port in container["ports"]}
    assert {
        port["targetPort"] for one in MANIFESTS if one["kind"] == "Service" for port in one["spec"]["ports"]
    } == ports


def test_the_systemd_unit_waits_longer_than_calls_may_take() -> None:
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)[1]) > 30  # type: ignore[index]
    assert "ExecReload=/bin/kill -HUP $MAINPID" in UNIT


def test_the_systemd_unit_is_tried_for_as_long_as_it_takes() -> None:
    before_service, _, _ = UNIT.partition("[Service]")
    assert "StartLimitIntervalSec=0" in before_service.splitlines()
    assert "Restart=always" in UNIT


def test_the_systemd_unit_is_tried_less_and_less_often() -> None:
    said = dict(re.findall(r"^(\w+)=(\d+)$", UNIT, re.MULTILINE))
    first, steps, most = (int(said[name]) for name in ("RestartSec", "RestartSteps", "RestartMaxDelaySec"))
    # clients wait in the sockets' queue meanwhile
    assert first == 1
    assert 10 <= most <= 30
    ratio = (most / first) ** (1 / steps)
    assert 1.5 < ratio < 2.5


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_systemd_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    for name in ("spendgate.socket", "spendgate-admin.socket"):
        shutil.copy(DEPLOY / "systemd" / name, tmp_path / name)
    unit = tmp_path / "spendgate.service"
    unit.write_text(UNIT.replace("/opt/spendgate/bin/spendgate", sys.executable))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    told = [line for line in checked.stderr.splitlines() if line.startswith((str(unit), "spendgate.service"))]
    version = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, timeout=60).stdout
    newer = ["RestartSteps", "RestartMaxDelaySec"] if int(version.split()[1]) < 254 else []
    assert [re.findall(r"Unknown key (?:name )?'(\w+)'", line) for line in told] == [[name] for name in newer], told
    analysed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True, timeout=60
    )
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", analysed.stdout)
    if exposure is None:
        pytest.skip("this systemd-analyze does not judge unit files offline")
    assert float(exposure[1]) < 2.0


def test_the_threat_model_names_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 10
    for path in named:
        assert (ROOT / path).exists(), path


def test_the_list_of_packages_is_the_lock(tmp_path: Path) -> None:
    made = tmp_path / "sbom.json"
    command = [str(Path(sys.executable).parent / "cyclonedx-py"), "requirements", str(ROOT / "requirements.lock")]
    subprocess.run([*command, "--output-reproducible", "--of", "JSON", "-o", str(made)], check=True, timeout=300)
    components = {one["name"]: one["version"] for one in json.loads(made.read_text())["components"]}
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert components == locked


def test_the_audit_tells_a_weak_package_from_data_that_can_not_be_had() -> None:
    audit = _script("audit")
    sound = {"name": "a", "version": "1.0", "vulns": []}
    weak = {"name": "b", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
    unknown = {"name": "c", "skip_reason": "not found"}
    said = {
        "": 0,
        "no JSON": 0,
        json.dumps({"dependencies": [unknown, unknown]}): 0,
        json.dumps({"dependencies": [sound, unknown]}): 0,
        json.dumps({"dependencies": [sound, weak]}): 1,
    }
    told = {text: audit.report(text) for text in said}
    assert {text: code for text, (code, _) in told.items()} == said
    assert [lines[0].split(",")[0] for _, lines in told.values()] == [
        *["audit: skipped"] * 3,
        "audit: 1 packages looked up",
        "audit: b 2.0: PYSEC-1",
    ]


def _script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
