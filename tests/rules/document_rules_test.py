"""Files and folders that the documents name exist."""

import fnmatch
import pathlib
import re
import subprocess
import unittest

REPO = pathlib.Path(__file__).resolve().parents[2]
QUOTED = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.*-]+(/[\w.*-]*)*")
# Of what is always a file of ours where it stands alone; others may be made by a program.
SUFFIXES = {".h", ".cc", ".cu", ".cuh", ".py", ".sh", ".md", ".proto", ".cmake"}


def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=REPO, check=True, capture_output=True, text=True).stdout.split()
    return [pathlib.PurePosixPath(path) for path in listed if (REPO / path).exists()]


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        files = tracked()
        cls.documents = [path for path in files if path.suffix == ".md"]
        cls.folders = {folder for path in files for folder in path.parents}
        # A name without a suffix means a header with its source file.
        cls.known = {*files, *cls.folders, *(path.with_suffix("") for path in files)}

    def bases(self, document):
        """Where a document's paths may begin: the repository, the document's folder."""
        return {pathlib.PurePosixPath("."), document.parent}

    def is_path(self, name, document):
        first, slash, _ = name.partition("/")
        if slash:
            return any(base / first in self.folders for base in self.bases(document))
        return pathlib.PurePosixPath(name).suffix in SUFFIXES and not name.startswith(".")

    def exists(self, name, document):
        wanted = [str(base / name) for base in self.bases(document)]
        return any(fnmatch.fnmatchcase(str(path), pattern) for path in self.known for pattern in wanted)

    def names(self):
        for document in self.documents:
            for number, line in enumerate((REPO / document).read_text().splitlines(), 1):
                for name in QUOTED.findall(line):
                    if PATH.fullmatch(name) and self.is_path(name, document):
                        yield document, number, name

    def test_there_is_something_to_check(self):
        self.assertGreater(len(list(self.names())), 50)

    def test_named_paths_exist(self):
        wrong = [f"{document}:{number}: {name}" for document, number, name in self.names() if not self.exists(name, document)]
        self.assertFalse(wrong, "\n" + "\n".join(wrong))


if __name__ == "__main__":
    unittest.main()
