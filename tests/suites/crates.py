"""Integration tests that a crate brings along, built from the archive that our lock file pins by its hash."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tomllib

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
CARGO_HOME = pathlib.Path(os.environ.get("CARGO_HOME", "~/.cargo")).expanduser()
OUTCOMES = {"ok": "ok", "FAILED": "failed", "ignored": "skipped"}


@dataclasses.dataclass(frozen=True)
class Suite:
    name: str
    version: str
    tests: list
    options: list
    newer: tuple = ()  # packages that the crate's own lock file has in a version which our compiler refuses
    skipped: tuple = ()  # tests that wait without end for what an exception names

    def run(self, work, environment, limit_s, names=()):
        """Outcome of each test, or of these, as `program::test`."""
        results = {}
        for program, path in self.build(work):
            asked = [name.removeprefix(f"{program}::") for name in names if name.startswith(f"{program}::")]
            if names and not asked:
                continue
            words = [path, "--test-threads", "2", "--exact", *asked]
            words += [word for test in self.skipped for word in ("--skip", test)]
            try:
                done = subprocess.run(words, cwd=work / self.folder, env=os.environ | environment, timeout=limit_s,
                                      stdout=subprocess.PIPE, text=True, errors="replace")
                said = done.stdout
            except subprocess.TimeoutExpired as late:
                said = (late.stdout or b"").decode(errors="replace")
                print(f"{self.name} {program}: no end after {limit_s} s", flush=True)
            print(said, flush=True)
            for test, outcome in re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", said, re.MULTILINE):
                results[f"{program}::{test}"] = OUTCOMES[outcome]
        return results

    @property
    def folder(self):
        return f"{self.name}-{self.version}"

    def build(self, work):
        self.unpack(work)
        # The crate's own lock file; our compiler, whatever it asks for; no debug information, which doubles the time.
        environment = os.environ | {"CARGO_TARGET_DIR": str(work / "build"), "CARGO_PROFILE_DEV_DEBUG": "0", "RUSTUP_TOOLCHAIN": toolchain()}
        for package, version in self.newer:
            words = ["cargo", "update", "--quiet", "--package", package, "--precise", version]
            subprocess.run(words, cwd=work / self.folder, env=environment, check=True)
        words = ["cargo", "test", "--locked", "--no-run", "--message-format=json-render-diagnostics", *self.options]
        words += [word for test in self.tests for word in ("--test", test)]
        said = subprocess.run(words, cwd=work / self.folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
        for line in said.splitlines():
            artifact = json.loads(line)
            if artifact.get("executable") and artifact["target"]["kind"] == ["test"]:
                yield artifact["target"]["name"], artifact["executable"]

    def unpack(self, work):
        subprocess.run(["cargo", "fetch", "--locked", "--quiet"], cwd=REPOSITORY, check=True)
        archive = next(CARGO_HOME.glob(f"registry/cache/*/{self.folder}.crate"))
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != self.checksum():
            raise SystemExit(f"{archive} has the hash {found}, and Cargo.lock another")
        # Old folders go: a file that a test run left there is none of the suite's.
        shutil.rmtree(work / self.folder, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(work, filter="data")

    def checksum(self):
        packages = tomllib.loads((REPOSITORY / "Cargo.lock").read_text())["package"]
        return next(p["checksum"] for p in packages if (p["name"], p["version"]) == (self.name, self.version))


def toolchain():
    return tomllib.loads((REPOSITORY / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
