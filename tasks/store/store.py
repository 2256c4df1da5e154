"""`Store`: look up, write, publish and delete the results of stages by key.

Refuses to know what the parts contain, and which process asks. The invariants are in the package docstring.
"""

from __future__ import annotations

import json
import platform
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs
from pydantic import ValidationError

from configs.errors import LeaseLost, StoreError
from configs.redact import redact_all
from tasks.ref import Ref
from tasks.store.blobs import Blobs, TornArtifact, digest, digest_file
from tasks.store.keys import StageKey
from tasks.store.manifest import Manifest, Part

if TYPE_CHECKING:
    from tasks.store.lease import Lease

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_MANIFEST = "manifest.json"


class Store:
    """The results of all stages below one URL. Thread-safe; pickles as its URL, for workers."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs

    @classmethod
    def open(cls, url: str | None, *, workers: int, storage_options: Mapping[str, Any] | None = None) -> Store:
        """Open (create) the store at `url`, None for the user's data folder; proves that it can be written.

        Raises StoreError when it cannot be used: no such protocol, no permission, no space, or `memory://`
        with workers in other processes.
        """
        url = url or str(Path(platformdirs.user_data_dir("steadyframe")) / "store")
        if workers > 0 and url.startswith("memory:"):
            raise StoreError(
                f"--store {url} lives in one process and cannot be shared with --workers {workers}; "
                "use --workers 0 or a folder"
            )
        store = cls(Blobs(url, storage_options))
        probe = f"probes/{uuid.uuid4().hex}"
        store.blobs.put(probe, b"probe")
        if store.blobs.get(probe) != b"probe":
            raise StoreError(f"store {store.url}: what was written does not read back; choose another --store")
        store.blobs.delete(probe)
        return store

    @classmethod
    def attach(cls, url: str, storage_options: Mapping[str, Any] | None = None) -> Store:
        """The same store in another process, from `store.url`; does not test it."""
        return cls(Blobs(url, storage_options))

    def __reduce__(self) -> tuple[type[Store], tuple[Blobs]]:
        return Store, (self.blobs,)

    @property
    def url(self) -> str:
        """Absolute URL of the root."""
        return self.blobs.url

    @property
    def compression(self) -> Literal["none", "zstd"]:
        """What parts of noise-like floats should use: none where bytes are near, zstd-1 where they travel."""
        return "none" if self.blobs.protocol in ("file", "memory") else "zstd"

    @staticmethod
    def folder(key: StageKey | Manifest) -> str:
        """Path of the artifact's folder below the root."""
        return f"stages/{key.stage}/{key.key[:2]}/{key.key}"

    def lookup(self, key: StageKey, verify: Literal["sizes", "digests"] = "sizes") -> Manifest | None:
        """The finished artifact of `key`, or None: also when its manifest or a part is torn or missing.

        `digests` reads every part. Raises StoreError only when the store itself cannot be asked.
        """
        manifest = self._manifest_at(f"{self.folder(key)}/{_MANIFEST}")
        if manifest is None or (manifest.stage, manifest.key) != (key.stage, key.key):
            return None
        if self._lost(key, manifest.parts) is not None:
            return None
        if verify == "digests" and not all(self._whole(part) for part in manifest.parts):
            return None
        return manifest

    def write_part(self, key: StageKey, name: str, data: bytes, meta: Mapping[str, Any] | None = None) -> Part:
        """Store one part whole; it belongs to nothing until `publish` lists it. No '/' in `name`."""
        sha = digest(data)
        path = self._part_path(key, name, sha)
        self.blobs.put(path, data)
        return Part(name=name, path=path, bytes=len(data), sha256=sha, meta=dict(meta or {}))

    def write_part_file(self, key: StageKey, name: str, source: Path, meta: Mapping[str, Any] | None = None) -> Part:
        """Like `write_part`, from a finished local file (an encoded video)."""
        sha, size = digest_file(source)
        path = self._part_path(key, name, sha)
        self.blobs.put_file(path, source)
        return Part(name=name, path=path, bytes=size, sha256=sha, meta=dict(meta or {}))

    def publish(
        self,
        key: StageKey,
        parts: Sequence[Part],
        meta: Mapping[str, Any] | None = None,
        seconds: float = 0.0,
        lease: Lease | None = None,
        device: str = "cpu",
    ) -> Manifest:
        """Make the artifact exist, by writing its manifest; returns the manifest that stands in the store.

        Without a lease the first publisher wins and later ones are handed its manifest. With one, the newest
        epoch wins. Raises LeaseLost when a newer holder exists, TornArtifact when a part is gone or not
        whole.
        """
        if lease is not None:
            lease.check()
        names = [part.name for part in parts]
        if len(set(names)) != len(names):
            raise ValueError(f"parts of {key.stage} must have different names, got {sorted(names)}")
        if (lost := self._lost(key, parts)) is not None:
            raise TornArtifact(f"part {lost.name!r} of {key.stage} {key.key} went away before it was published")
        data = Manifest(
            stage=key.stage,
            key=key.key,
            preimage=redact_all(key.preimage),  # to be read, never hashed again
            inputs=redact_all(list(key.preimage.get("inputs", []))),
            parts=tuple(parts),
            meta=redact_all(dict(meta or {})),
            host=platform.node(),
            device=device,
            seconds=seconds,
            created=time.time(),
            code_version=_code_version(),
            epoch=lease.epoch if lease is not None else 0,
        ).model_dump_json(indent=1)
        path, mine = f"{self.folder(key)}/{_MANIFEST}", Manifest.model_validate_json(data)
        if self.blobs.put_new(path, data.encode()):
            return mine
        there = self.lookup(key)
        if there is not None and lease is None:
            return there
        if there is not None and there.epoch > mine.epoch:
            raise LeaseLost(f"{key.stage} {key.key} was published by epoch {there.epoch}; ours is {mine.epoch}")
        # Torn, or of an older epoch. A zombie that passed its check above and writes only now replaces one
        # complete manifest by another of the same key: its parts are its own, so readers see a whole result.
        self.blobs.put(path, data.encode())
        return mine

    def read_part(self, manifest: Manifest, name: str, verify: bool = True) -> bytes:
        """Bytes of a part; TornArtifact if missing or (verify) not what was published, KeyError: no such."""
        part = manifest.part(name)
        if part is None:
            names = [p.name for p in manifest.parts]
            raise KeyError(f"{manifest.stage} {manifest.key} has no part {name!r}, only {names}")
        data = self.blobs.get(part.path)
        if len(data) != part.bytes or (verify and digest(data) != part.sha256):
            raise TornArtifact(f"part {name!r} of {manifest.stage} {manifest.key} is not what was published")
        return data

    def require(self, key: StageKey) -> Manifest:
        """The finished artifact of `key` (only stage and key count); TornArtifact when it is gone."""
        manifest = self.lookup(key)
        if manifest is None:
            raise TornArtifact(f"{key.stage} {key.key} is no longer in {self.url}; run the same command again")
        return manifest

    def read_path(self, path: str, sha256: str) -> bytes:
        """Bytes of one object that a commit lists; TornArtifact when missing or not what was written."""
        data = self.blobs.get(path)
        if digest(data) != sha256:
            raise TornArtifact(f"{path} is not what was committed")
        return data

    def ref(self, manifest: Manifest, status: str, seconds: float = 0.0) -> Ref:
        """What is passed to the next stage; `digest` is `manifest.digest`, `uri` the artifact's folder."""
        uri = self.url + ("" if self.url.endswith("/") else "/") + self.folder(manifest)
        return Ref(
            stage=manifest.stage,
            key=manifest.key,
            uri=uri,
            digest=manifest.digest,
            bytes=manifest.bytes,
            status=status,
            seconds=seconds,
        )

    def resolve(self, ref: Ref) -> Manifest:
        """The manifest a Ref speaks of; TornArtifact when it went away or is another result by now."""
        manifest = self.lookup(StageKey(ref.stage, ref.key, {}))
        if manifest is None or manifest.digest != ref.digest:
            raise TornArtifact(f"{ref.stage} {ref.key} is no longer in {self.url}; run the same command again")
        return manifest

    def forget(self, key: StageKey | Manifest) -> None:
        """Delete the artifact, manifest first."""
        self.blobs.delete(f"{self.folder(key)}/{_MANIFEST}")
        self.blobs.delete_tree(self.folder(key))

    def refresh(self, key: StageKey | Manifest) -> None:
        """Delete the artifact and its step commits, so that all of it is computed again."""
        self.forget(key)
        self.blobs.delete_tree(f"steps/{key.key}")

    def manifests(self, stage: str | None = None) -> Iterator[Manifest]:
        """All readable manifests (parts not checked), by path."""
        for path in self.blobs.list(f"stages/{stage}" if stage else "stages"):
            if path.endswith(f"/{_MANIFEST}") and (manifest := self._read_manifest(path)) is not None:
                yield manifest

    def find(self, key_prefix: str) -> list[Manifest]:
        """Manifests of any stage whose key starts with `key_prefix` (at least 2 hex digits)."""
        if not re.fullmatch(r"[0-9a-f]{2,32}", key_prefix):
            raise StoreError(f"{key_prefix!r} is not the beginning of a key: give 2 to 32 of the digits 0-9 a-f")
        found = []
        for stage in self.blobs.children("stages")[1]:
            for key in self.blobs.children(f"stages/{stage}/{key_prefix[:2]}")[1]:
                path = f"stages/{stage}/{key_prefix[:2]}/{key}/{_MANIFEST}"
                if key.startswith(key_prefix) and (manifest := self._read_manifest(path)) is not None:
                    found.append(manifest)
        return found

    def write_record(self, path: str, value: Any) -> None:
        """Store a JSON value under `path` (`jobs/...`, `dead/...`) without secrets, replacing an older one."""
        self.blobs.put(path, json.dumps(redact_all(value), indent=1, sort_keys=True).encode())

    def read_record(self, path: str) -> Any | None:
        """The JSON value under `path`, None when there is none or it does not parse."""
        try:
            return json.loads(self.blobs.get(path))
        except (TornArtifact, ValueError):
            return None

    def highest_epoch(self, key: StageKey | str) -> int:
        """The largest epoch any commit or manifest of `key` carries; new leases start above it."""
        name = key if isinstance(key, str) else key.key
        commits = self.blobs.children(f"steps/{name}")[0]
        found = [int(m[1]) for path in commits if (m := re.search(r"/commit-\d+-(\d+)\.json$", path))]
        if isinstance(key, StageKey) and (manifest := self._read_manifest(f"{self.folder(key)}/{_MANIFEST}")):
            found.append(manifest.epoch)
        return max(found, default=0)

    def _manifest_at(self, path: str) -> Manifest | None:
        try:
            return Manifest.model_validate_json(self.blobs.get(path))
        except (TornArtifact, ValidationError):
            return None

    def _read_manifest(self, path: str) -> Manifest | None:
        try:
            return self._manifest_at(path)
        except StoreError:
            return None

    def _lost(self, key: StageKey | Manifest, parts: Sequence[Part]) -> Part | None:
        """The first of `parts` that is not there with its size; a listing may be old, so it is asked for by name."""
        folder = self.folder(key)
        sizes, _ = self.blobs.children(folder)
        unseen = (part for part in parts if sizes.get(part.path) != part.bytes)
        strange = (p for p in unseen if not p.path.startswith(f"{folder}/") or self.blobs.size(p.path) != p.bytes)
        return next(strange, None)

    def _whole(self, part: Part) -> bool:
        try:
            return digest(self.blobs.get(part.path)) == part.sha256
        except (TornArtifact, StoreError):
            return False

    def _part_path(self, key: StageKey, name: str, sha: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"part name {name!r} may hold letters, digits, '.', '_' and '-' only")
        return f"{self.folder(key)}/part-{sha[:16]}-{name}"


def _code_version() -> str:
    try:
        return metadata.version("steadyframe")
    except metadata.PackageNotFoundError:
        return "unknown"
