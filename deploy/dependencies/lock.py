#!/usr/bin/env python3
"""Pins a list of Python packages: reads NAME.in, writes NAME.txt with every dependency's version and hashes.

The lock holds for each Python in PYTHONS on Linux x86-64. Packages without a wheel keep their source archive's hash; only
the Python that runs this can ask them what they need, so for the other one a list has to name that itself.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

PYTHONS = ("3.11", "3.12")
HERE = pathlib.Path(__file__).resolve().parent
SOURCE_ONLY = ("llama-cpp-python",)


def resolve(requirements: pathlib.Path, python: str, constraints: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Returns {name: (version, sha256)} as pip would install it, without installing."""
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch, "report.json")
        pins = pathlib.Path(scratch, "constraints.txt")
        pins.write_text("".join(f"{name}=={version}\n" for name, version in constraints.items()))
        runs_this = python == "{}.{}".format(*sys.version_info)
        wanted = pathlib.Path(scratch, "requirements.txt")
        lines = requirements.read_text().splitlines(keepends=True)
        wanted.write_text("".join(line for line in lines if runs_this or not line.startswith(SOURCE_ONLY)))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", str(report)]
        command += ["--target", scratch, "--requirement", str(wanted), "--constraint", str(pins)]
        if runs_this:
            command += ["--prefer-binary", "--only-binary=:all:", f"--no-binary={','.join(SOURCE_ONLY)}"]
        else:
            command += ["--python-version", python, "--only-binary=:all:"]
        subprocess.run(command, check=True)
        items = json.loads(report.read_text())["install"]
    return {
        item["metadata"]["name"].lower().replace("_", "-"): (
            item["metadata"]["version"],
            item["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for item in items
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="python-test, python-oracle or python-peer")
    parser.add_argument("--python", action="append", help="Python version to lock for (default: %(default)s)")
    arguments = parser.parse_args()
    requirements = HERE / f"{arguments.name}.in"

    versions: dict[str, str] = {}
    hashes: dict[str, set[str]] = {}
    for python in arguments.python or PYTHONS:
        for name, (version, digest) in resolve(requirements, python, versions).items():
            if versions.setdefault(name, version) != version:
                sys.exit(f"{name}: {versions[name]} and {version} on different Pythons")
            hashes.setdefault(name, set()).add(digest)

    lines = [f"# Made by deploy/dependencies/lock.py from {requirements.name}; Python {', '.join(arguments.python or PYTHONS)}."]
    for name in sorted(versions):
        digests = "".join(f" --hash=sha256:{digest}" for digest in sorted(hashes[name]))
        lines.append(f"{name}=={versions[name]}{digests}")
    (HERE / f"{arguments.name}.txt").write_text("\n".join(lines) + "\n")
    print(f"{arguments.name}.txt: {len(versions)} packages")


if __name__ == "__main__":
    main()
