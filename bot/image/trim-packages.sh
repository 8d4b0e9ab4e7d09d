#!/bin/sh
# Takes out of /packages what no program of an image calls, and headers; then makes byte code, because the root
# file system is read-only where it runs. numpy reads numpy/typing when its types are asked for: it stays.
#
#   sh trim-packages.sh [PATH...]      also these, below /packages
set -eu
cd /packages
rm -rf bin "$@" pyarrow/include pyarrow/src pyarrow/tests pyarrow/libarrow_flight* pyarrow/_flight* \
    pyarrow/libarrow_python_flight* numpy/f2py numpy/_core/include numpy/_core/lib numpy/random/lib
find . -type d \( -name tests -o -name examples -o -name _examples \) -prune -exec rm -rf {} +
find . -type f \( -name '*.pyi' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.h' -o -name '*.c' \) -delete
python3 -m compileall -q --invalidation-mode unchecked-hash .
