# Waits until the clock is synchronised, and tells how it is, in lines of a word and a value.
#
#   LIMIT    seconds by which it may be off, such as 0.1
#   TRIES    how many times to look, a second apart
if ! command -v chronyc >/dev/null; then
    echo "chrony missing"
    exit 0
fi
if chronyc -n waitsync "$TRIES" "$LIMIT" 0 1 >/dev/null 2>&1; then
    echo "synchronised yes"
else
    echo "synchronised no"
fi
if said=$(chronyc -n -c tracking 2>&1); then echo "tracking $said"; else echo "error $said"; fi
chronyc -n -c sources 2>/dev/null | sed 's/^/source /'
