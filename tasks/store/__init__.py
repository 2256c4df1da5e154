"""The artifact store: content-addressed results on any fsspec URL, safe against kills, races and deletion.

Invariants, each with a test:

1. An object is written whole or not at all (`blobs`). Nobody appends, nobody overwrites with other content:
   parts carry their digest in their name, so a late writer cannot damage what a manifest or commit already
   lists.
2. The manifest is written last: an artifact exists if and only if its manifest is readable and every part it
   lists is there. A step commit likewise lists its parts by digest and is immutable, even when the step is
   done again.
3. What is missing or torn is *absent*, never an error of `lookup` or `newest`. Hence deleting anything is
   safe.
4. Who writes under a key holds its lease; every newer holder has a higher epoch, and a writer with an older
   epoch is refused (`LeaseLost`) or its commits are ignored. Two publishers: one wins, and readers see one
   complete result.
5. Nothing that decides a resume is read from a cached listing.
6. Keys are made of the question alone (`keys`): no host, time, worker count, order of a dict.
7. `memory://` is per process and so only for runs with no workers.

Layout below the root:

    stages/<stage>/<k2>/<key>/part-<digest>-<name>, manifest.json
    steps/<key>/<step>/<digest>.parquet, steps/<key>/commit-<step>-<epoch>.json
    pairs/<key of some frames>/<digest>.parquet, <digest>.names
    leases/<key>/<epoch>.json
    jobs/, dead/        records of the flows (`Store.write_record`)
"""

from tasks.store.blobs import Blob, Blobs, MissingBlob, TornArtifact
from tasks.store.keys import StageKey, diff, stage_key
from tasks.store.lease import Lease, LeaseHeld
from tasks.store.manifest import Manifest, Part
from tasks.store.store import Store

__all__ = [
    "Blob",
    "Blobs",
    "Lease",
    "LeaseHeld",
    "Manifest",
    "MissingBlob",
    "Part",
    "StageKey",
    "Store",
    "TornArtifact",
    "diff",
    "stage_key",
]
