# Stops at a new fstab that findmnt finds more wrong with than with the present one. $1: the new file;
# $2: where data is mounted, which is not there yet the first time and stops no boot (nofail).
LC_ALL=C
export LC_ALL
wrong() {
    findmnt --verify --tab-file "$1" 2>&1 | awk -v own="$2" '
        /^[^ ]/ {target = $0}
        /parse error/ && !/^0 parse/ {print "it has a line that cannot be read"}
        /\[E\]/ && target != own {sub(/^ *\[E\] */, ""); print target ": " $0}'
}
command -v findmnt >/dev/null || { echo "findmnt is missing"; exit 1; }
before=$(wrong /etc/fstab "$2")
more=$(wrong "$1" "$2" | grep -vxF -e "$before")
[ -z "$more" ] || { echo "$more"; exit 1; }
