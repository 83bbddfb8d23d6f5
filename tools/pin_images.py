"""Writes the digests of other people's images beside their tags: `make pin-images`, where their registries are reached.

skopeo asks the registry which digest a tag has now; it goes into the Dockerfiles and into the chart's values. `--list`
asks nobody and names the images that have none.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = (
    "images/agents.Dockerfile",
    "images/gateway.Dockerfile",
    "images/operator.Dockerfile",
    "cli/src/crowetrade_cli/projects/strategy/Dockerfile",
    "charts/crowetrade/values.yaml",
)
_NAME, _TAG, _DIGEST = r"docker\.io/(?:library|hashicorp)/[a-z]+", r"[\w.-]+", r"sha256:[0-9a-f]{64}"
REFERENCE = re.compile(rf"(?P<name>{_NAME}):(?P<tag>{_TAG})(?:@(?P<digest>{_DIGEST}))?")
VALUES = re.compile(rf'repository: (?P<name>{_NAME}), tag: (?P<tag>{_TAG}), digest: "(?P<digest>{_DIGEST})?"')


def pin(text: str, digest_of: Callable[[str], str]) -> str:
    """The text with the digest of every image in it."""

    def reference(found: re.Match[str]) -> str:
        return f"{found['name']}:{found['tag']}@{digest_of(_tagged(found))}"

    def values(found: re.Match[str]) -> str:
        return f'repository: {found["name"]}, tag: {found["tag"]}, digest: "{digest_of(_tagged(found))}"'

    return VALUES.sub(values, REFERENCE.sub(reference, text))


def without_digest(text: str) -> set[str]:
    """Images in the text that have none, as name:tag."""
    found = [*REFERENCE.finditer(text), *VALUES.finditer(text)]
    return {_tagged(match) for match in found if not match["digest"]}


def _tagged(found: re.Match[str]) -> str:
    return f"{found['name']}:{found['tag']}"


def ask_registry(image: str) -> str:
    """The digest of what the tag names now: of the list of all architectures, where there is one."""
    command = ["skopeo", "inspect", "--no-tags", "--format", "{{.Digest}}", f"docker://{image}"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise SystemExit("skopeo is not installed (Debian: apt-get install skopeo); nothing was changed") from None
    answer = ended.stdout.strip()
    if ended.returncode or not re.fullmatch(_DIGEST, answer):
        raise SystemExit(f"the digest of {image} could not be looked up; nothing was changed: {ended.stderr.strip()}")
    return answer


def main(arguments: list[str]) -> int:
    """Writes, or lists."""
    parser = argparse.ArgumentParser(prog="python -m tools.pin_images", description=__doc__)
    parser.add_argument("--list", action="store_true", help="change nothing, name the images without a digest")
    texts = {ROOT / file: (ROOT / file).read_text(encoding="utf-8") for file in FILES}
    if parser.parse_args(arguments).list:
        missing = sorted(set().union(*map(without_digest, texts.values())))
        if missing:
            print(f"images by tag alone, because no registry was asked yet (make pin-images): {', '.join(missing)}")
        return 0
    digests: dict[str, str] = {}

    def digest_of(image: str) -> str:
        if image not in digests:
            digests[image] = ask_registry(image)
        return digests[image]

    written = {file: pin(text, digest_of) for file, text in texts.items()}
    for file, text in written.items():
        file.write_text(text, encoding="utf-8")
    print("\n".join(f"{image}@{digest}" for image, digest in sorted(digests.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
