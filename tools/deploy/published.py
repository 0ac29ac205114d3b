"""Reads what Compose makes of compose.yaml with everything on: the ports that users know are published, on this machine
alone; every file that is mounted is there; a server without keys says so."""

import json
import sys
from pathlib import Path

KNOWN = {8080, 8000, 8001, 8002, 8004, 8081, 8082, 5432, 55432, 9092, 9090, 3000, 4317, 4318, 8088, 5050, 4566}

services = json.load(sys.stdin)["services"]
published = {}
for name, service in services.items():
    for port in service.get("ports", []):
        assert port.get("host_ip") == "127.0.0.1", f"{name} is published on {port.get('host_ip', 'every address')}"
        assert port["published"] not in published, f"{port['published']} is published twice"
        published[port["published"]] = name
    for volume in service.get("volumes", []):
        if volume["type"] == "bind":
            assert Path(volume["source"]).exists(), f"{name} mounts {volume['source']}, which is not there"
    if (service.get("command") or [""])[0] == "serve":
        listens = [word for word in service["command"] if word.startswith("0.0.0.0:")]
        assert listens and service["environment"]["STREAMGAUGE_AUTH"] == "off", name
        assert any(word.endswith(":8080") for word in listens), f"{name}: its health check asks port 8080"
missing = KNOWN - {int(port) for port in published}
assert not missing, f"nobody publishes {sorted(missing)}"
front = {int(port["target"]) for port in services["streamgauge"]["ports"]}
listens = {int(word.rsplit(":", 1)[1]) for word in services["streamgauge"]["command"] if word.startswith("0.0.0.0:")}
assert front == listens, f"published {sorted(front)}, listened on {sorted(listens)}"
print(f"Compose understands every profile; {len(services)} services, {len(published)} ports, all on this machine alone")
