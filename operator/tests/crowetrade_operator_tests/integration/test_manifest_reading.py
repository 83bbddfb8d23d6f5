"""What the command line reads from YAML and JSON against what kubectl reads, without a cluster."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crowetrade_api.names import API_VERSION
from crowetrade_cli.errors import Failed
from crowetrade_cli.manifests.go_text import decoded
from crowetrade_cli.manifests.reading import read
from crowetrade_operator_tests.servers import program

pytestmark = pytest.mark.integration
MARK = "read-by"
HEAD = f"apiVersion: {API_VERSION}\nkind: Strategy\nmetadata: {{name: a}}\n"
SECOND = HEAD.replace("name: a", "name: b")


def kubectl_reads(folder: Path, file: Path) -> list[Any] | str:
    """The objects of the file, or kubectl's complaint."""
    done = subprocess.run(
        [program("kubectl"), "annotate", "--local", "-f", file, f"{MARK}=kubectl", "-o", "json"],
        env={**os.environ, "KUBECONFIG": os.devnull, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return done.stderr
    objects, decoder, text = [], json.JSONDecoder(), done.stdout.strip()
    while text:
        value, end = decoder.raw_decode(text)
        del value["metadata"]["annotations"][MARK]
        if not value["metadata"]["annotations"]:
            del value["metadata"]["annotations"]
        objects.append(value)
        text = text[end:].strip()
    return objects


def we_read(file: Path) -> list[Any] | str:
    """The manifests of the file, or our complaint."""
    try:
        return [found.manifest for found in read([str(file)]).manifests]
    except Failed as error:
        return str(error)


SCALARS = """
yes y Yes on ~ Null NULL nUll no off False 1 +5 -5 0 -0 00 007 08 0o17 0o8 0O17 0x1F -0x1f 0b11 0B11 -0b1 0b 0x 1_000
1__0 _1 1_ 1.0 1. .5 5.e1 1e3 1E5 1e+3 1e-7 .1e1 .5_0 1.5.5 1:30 1:30:00 2026-01-01 2026-1-1 2026-01-01T00:00:00Z
99999999999999999999 18446744073709551615 18446744073709551616 9223372036854775808 -9223372036854775808
-9223372036854775809 123456789012345678 1.0e+22 1e400 -1e400 -0.0 24x7 0.1 100.25 1e21 1e20 ''  "5" 'yes'
1/2 1% 5m 0.50 012345670 01289 -012 +012 0_1 1e5_0 .e1 +.5 -.5
""".split()  # noqa: SIM905 - a table
ACCEPTED = {
    "scalars": HEAD + "x:\n" + "".join(f"- {word}\n" for word in SCALARS),
    "tagged scalars": HEAD
    + "x: [!!str 5, !!str yes, !!float 3, !!int '7', !!bool yes, !!null ~, !!binary aGk=, ! 5]\n",
    "keys": HEAD + "x: {5: a, yes: b, 0x10: c, 'no': d, 2026-01-01: e, 1.5: f, off: g, '': h}\n",
    "anchors": HEAD + "x: &a {b: 1, c: [1]}\ny2: *a\nz: {<<: *a, c: 2}\nw: {<<: [*a, {d: 4, b: 9}]}\n",
    "a merge after its keys": HEAD + "x: &a {b: 1}\nz: {c: 2, <<: *a}\n",
    "block texts": HEAD + "x: |\n  one\n  two\ny1: >-\n  folded\n  text\n\n  more\nz: |+\n  kept\n\n",
    "two documents": HEAD + "---\n" + SECOND,
    "separators with comments": "# first\n---\n" + HEAD + "--- # next\n" + SECOND + "---\n# nothing\n---\n\n",
    "an end of a document": HEAD + "...\n---\n" + SECOND,
    "a list": "apiVersion: v1\nkind: List\nitems:\n- " + HEAD.rstrip().replace("\n", "\n  "),
    "a byte order mark": "\ufeff" + HEAD,
    "null alone": HEAD + "---\nnull\n",
    "JSON": json.dumps(
        {"apiVersion": API_VERSION, "kind": "Strategy", "metadata": {"name": "a"}, "x": [1.0, "é\U0001f600"]}
    ),
    "JSON, one after the other": "".join(
        json.dumps({"apiVersion": API_VERSION, "kind": "Strategy", "metadata": {"name": name}}) for name in "ab"
    ),
    "YAML in braces": f"{{apiVersion: {API_VERSION}, kind: Strategy, metadata: {{name: a}}}}\n---\n{SECOND}",
    "Windows line ends": HEAD.replace("\n", "\r\n") + "---\r\n" + SECOND.replace("\n", "\r\n"),
}
REFUSED = {
    "no YAML": "a: [\n",
    "no object": "- a\n",
    "a single word": "text\n",
    "no kind": "a: 1\n",
    "not a number": HEAD + "x: .nan\n",
    "infinity": HEAD + "x: -.inf\n",
    "a list for a key": HEAD + "x: {? [a] : b}\n",
    "null for a key": HEAD + "x: {~: b}\n",
    "an unknown alias": HEAD + "x: *a\n",
    "an anchor in itself": HEAD + "x: &a [*a]\n",
    "half a surrogate pair": HEAD + 'x: "\\ud800"\n',
    "more after a separator": HEAD + "--- x\n",
    "a tab for a space": HEAD + "x:\n\ty: 1\n",
    "a wrong tag": HEAD + "x: !!int abc\n",
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_the_same_objects(tmp_path: Path, case: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(ACCEPTED[case].encode())
    theirs = kubectl_reads(tmp_path, file)
    assert isinstance(theirs, list), theirs
    # kubectl has made floats of integers that are no int64: decoded does the same.
    assert json.dumps(decoded(we_read(file)), sort_keys=True) == json.dumps(decoded(theirs), sort_keys=True)


@pytest.mark.parametrize("case", REFUSED)
def test_the_same_refusals(tmp_path: Path, case: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(REFUSED[case])
    assert isinstance(kubectl_reads(tmp_path, file), str)
    ours = we_read(file)
    assert isinstance(ours, str)
    assert ours.startswith(f"{file}, line ")


def test_the_same_text_in_utf_16(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(HEAD, encoding="utf-16")
    assert we_read(file) == kubectl_reads(tmp_path, file)


def test_words_and_numbers_that_nobody_thought_of(tmp_path: Path) -> None:
    dice = random.Random(1)
    words = ["".join(dice.choices("0123456789+-._eExXoObByYnNtTfF~", k=dice.randint(1, 7))) for _ in range(20_000)]
    plain = sorted({word for word in words if word != "-" and not word.startswith("---") and word != "..."})
    file = tmp_path / "a.yaml"
    file.write_text(HEAD + "x:\n" + "".join(f"- {word}\n" for word in plain))
    theirs = kubectl_reads(tmp_path, file)
    assert isinstance(theirs, list), theirs
    ours = we_read(file)
    assert isinstance(ours, list), ours
    differing = [
        (word, one, other)
        for word, one, other in zip(plain, ours[0]["x"], theirs[0]["x"], strict=True)
        if json.dumps(one) != json.dumps(other)
    ]
    assert not differing
