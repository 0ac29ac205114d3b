"""Sees that the image's build gets every file that the crates compile in, and what the Dockerfile copies by name."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
needed = {"Cargo.toml", "Cargo.lock"}
for source in (ROOT / "crates").rglob("*.rs"):
    for path in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text()):
        needed.add(str((source.parent / path).resolve().relative_to(ROOT)))
for words in re.findall(r"^COPY (?!--from)(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
    needed |= {word for word in words.split()[:-1] if word != "."}
for path in sorted(needed):
    assert (ROOT / path).exists(), f"{path} is compiled in or copied, and is not there"
    assert any(path == entry or path.startswith(f"{entry}/") for entry in allowed), f".dockerignore leaves {path} out"
print(f"the build gets all {len(needed)} files that it names")
