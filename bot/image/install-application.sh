#!/bin/sh
# Puts a program and the modules in SOURCES, as byte code alone, below /application.
#
#   sh install-application.sh PROGRAM SOURCES
set -eu
site=/application/usr/local/lib/python3.13/dist-packages
mkdir -p "$site" /application/usr/local/bin
cp -r "$2"/* "$site"
python3 -m compileall -q -b -s "$site" --invalidation-mode unchecked-hash "$site"
find "$site" -name '*.py' -delete
printf '#!/bin/sh\nexec python3 -m %s "$@"\n' "$1" >"/application/usr/local/bin/$1"
chmod 0755 "/application/usr/local/bin/$1"
