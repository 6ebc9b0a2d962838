"""Runs clang-tidy over the translation units that are not known to be clean, within a time budget.

    tests/tidy.py --build build/cpu-release --stamps ~/.cache/keyhole/tidy [--seconds 240] [--all] [FILE...]

A unit that was found clean leaves a stamp named after all that its findings depend on: the text of every file of the
project that it includes, its command, the checks and clang-tidy itself. Units with a stamp are not checked again. Those
that differ from the merge base are checked first and without regard to the budget; the others follow, in an order that
has nothing to do with their names, until it is spent. What was left out is said. Exit status 1 for any finding.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

REPO = pathlib.Path(__file__).resolve().parent.parent


def output_of(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


def project_dependencies(build):
    """Object file -> project files that the compiler read for it, as ninja recorded them."""
    dependencies, files = {}, None
    for line in output_of("ninja", "-C", build, "-t", "deps").splitlines():
        if header := re.match(r"(\S+): #deps", line):
            files = dependencies[header[1]] = []
        elif line.startswith("    "):
            path = (build / line.strip()).resolve()
            if path.is_relative_to(REPO) and not path.is_relative_to(REPO / "build"):
                files.append(path)
    return dependencies


class Unit:
    def __init__(self, entry, dependencies, common):
        self.file = pathlib.Path(entry["file"])
        self.name = str(self.file.relative_to(REPO))
        self.output = re.search(r" -o (\S+)", entry["command"])[1]
        self.built = self.output in dependencies  # else what it includes is not known, and it has no stamp
        self.depends_on = sorted({self.file, *dependencies.get(self.output, [])})
        digest = hashlib.sha256(common + entry["command"].replace(str(REPO), "").encode())
        for path in self.depends_on:
            digest.update(f"\n{path.relative_to(REPO)} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
        self.key = digest.hexdigest()


def units_of(build):
    """One unit for each source file of the project."""
    dependencies = project_dependencies(build)
    version = output_of("clang-tidy", "--version")
    common = (version + (REPO / ".clang-tidy").read_text() + pathlib.Path(__file__).read_text()).encode()
    units = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = pathlib.Path(entry["file"])
        if file.is_relative_to(REPO) and not file.is_relative_to(REPO / "build") and file not in units:
            units[file] = Unit(entry, dependencies, common)
    return list(units.values())


def changed_files():
    """Files that differ from where this branch left the main one; on the main one, from the commit before."""
    try:
        base = output_of("git", "merge-base", "HEAD", "main", cwd=REPO).strip()
        if base == output_of("git", "rev-parse", "HEAD", cwd=REPO).strip():
            base = "HEAD~1"
        names = output_of("git", "diff", "--name-only", base, cwd=REPO)
    except subprocess.CalledProcessError:  # a clone without that history
        return set()
    return {REPO / name for name in names.splitlines()}


def check(unit, build):
    command = ["clang-tidy", "--quiet", "-p", build, "--extra-arg=-Wno-unknown-warning-option", unit.file]
    return subprocess.run(command, capture_output=True, text=True)


def findings(result):
    text = result.stdout.strip() or result.stderr.strip()
    return text.replace(f"{REPO}/", "")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="a folder that was built with ninja")
    parser.add_argument("--stamps", type=pathlib.Path, required=True, help="where the stamps of clean units are")
    parser.add_argument("--seconds", type=float, default=240, help="budget for units that did not change")
    parser.add_argument("--all", action="store_true", help="no budget")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="these alone, stamp or not")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    build = arguments.build.resolve()
    arguments.stamps.mkdir(parents=True, exist_ok=True)
    units = units_of(build)
    named = {path.resolve() for path in arguments.files}
    if unknown := named - {unit.file for unit in units}:
        sys.exit(f"no such source file in {build}: {', '.join(map(str, unknown))}")
    if named:
        must, may = [unit for unit in units if unit.file in named], []
    else:
        changed = changed_files()
        open_units = [unit for unit in units if not (unit.built and (arguments.stamps / unit.key).exists())]
        # A changed header alone may reach every unit: those come first among the others.
        must = [unit for unit in open_units if unit.file in changed]
        may = [unit for unit in open_units if unit.file not in changed]
        may.sort(key=lambda unit: (changed.isdisjoint(unit.depends_on), unit.key))
    end = float("inf") if arguments.all else time.monotonic() + arguments.seconds
    done = bad = 0

    def run(unit, required):
        if not required and time.monotonic() > end:
            return unit, None
        return unit, check(unit, build)

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        tasks = [pool.submit(run, unit, True) for unit in must] + [pool.submit(run, unit, False) for unit in may]
        for task in concurrent.futures.as_completed(tasks):
            unit, result = task.result()
            if result is None:
                continue
            done += 1
            if result.returncode == 0:
                if unit.built:
                    (arguments.stamps / unit.key).touch()
                print(f"{done}: {unit.name}", flush=True)
            else:
                bad += 1
                print(f"{done}: {unit.name}: FAILED\n{findings(result)}", flush=True)
    print(
        f"NOTE: {len(units)} source files: {done} checked now, {bad} of them with findings; "
        f"{0 if named else len(units) - len(must) - len(may)} clean and unchanged since they were checked; "
        f"{len(must) + len(may) - done if not named else len(units) - done} not checked"
    )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
