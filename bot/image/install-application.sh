#!/bin/sh
# Puts a program and the modules in SOURCES, as byte code alone, below /application.
#
#   sh install-application.sh PROGRAM SOURCES [OPTIONS of compileall]
set -eu
program=$1 sources=$2
shift 2
site=/application/usr/local/lib/python3.13/dist-packages
mkdir -p "$site" /application/usr/local/bin
cp -r "$sources"/* "$site"
python3 -m compileall -q -b "$@" -s "$site" --invalidation-mode unchecked-hash "$site"
find "$site" -name '*.py' -delete
printf '#!/bin/sh\nexec python3 -m %s "$@"\n' "$program" >"/application/usr/local/bin/$program"
chmod 0755 "/application/usr/local/bin/$program"
