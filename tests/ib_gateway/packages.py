"""Files that stand in for what a user downloads: IB Gateway's installer, and IBC.

They lay out what the real ones do, as the public descriptions of ib-gateway-docker and IBC have it;
what runs in the end is the practice Gateway.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).with_name("stand_in")
SOURCES = ("bot/src/gridbase", "bot/src/gridexchange")
# A shell script with an archive behind it, as install4j's is; takes its options.
INSTALLER = """#!/bin/sh
set -eu
[ "$1" = -q ] && [ "$2" = -dir ] || { echo "usage: $0 -q -dir DIRECTORY" >&2; exit 1; }
if [ -e /sys/class/net/eth0 ]; then echo "the installer has a network" >&2; exit 1; fi
mkdir -p "$3/jars" "$3/.install4j" "$3/jre/bin"
cd "$3"
sed '1,/^ARCHIVE$/d' "$0" | base64 -d | tar -xz
touch jars/jts.jar .install4j/i4jruntime.jar
echo "$3/jre" >.install4j/inst_jre.cfg
printf '%s\\n' '# memory' -Xmx768m -XX:+UseG1GC -Dsun.awt.nopixfmt=true >ibgateway.vmoptions
printf '#!/bin/sh\\nexit 1\\n' >ibgateway
chmod 0755 ibgateway jre/bin/java
echo "$HOME" >home-of-the-installer
exit 0
ARCHIVE
"""


@dataclass(frozen=True)
class Download:
    """A file as a user has it.

    Attributes:
        path: Where it is.
        sha256: Its checksum.
    """

    path: Path
    sha256: str


def _download(path: Path, data: bytes) -> Download:
    path.write_bytes(data)
    return Download(path, hashlib.sha256(data).hexdigest())


def installer(directory: Path, architecture: str = "x64", note: str = "") -> Download:
    """Make an installer.

    Args:
        directory: Where.
        architecture: In its name, as IBKR writes it: `x64` or `arm`.
        note: Makes it another version.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        archive.add(STAND_IN / "java", "jre/bin/java")
        for source in SOURCES:
            archive.add(
                ROOT / source,
                f"practice/{Path(source).name}",
                filter=lambda one: None if "__pycache__" in one.name else one,
            )
    text = INSTALLER.replace("exit 0\n", f"echo '{note}' >version\nexit 0\n")
    body = text.encode() + base64.encodebytes(packed.getvalue())
    name = f"ibgateway-10.45.1g-standalone-linux-{architecture}.sh"
    return _download(directory / name, body)


def ibc(directory: Path) -> Download:
    """Make IBC's zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("version", "3.24.1\n")
        archive.writestr("config.ini", "IbLoginId=edemo\n")
        archive.writestr("IBC.jar", b"PK")
        archive.write(STAND_IN / "ibcstart.sh", "scripts/ibcstart.sh")
    return _download(directory / "IBCLinux-3.24.1.zip", packed.getvalue())
