# What the role must know of a host; DIRECTORY is set before.
. /etc/os-release
echo "release ${VERSION_CODENAME:-}"
echo "memory_mb $(($(awk '/^MemTotal/ {print $2}' /proc/meminfo) / 1024))"
echo "cpus $(nproc)"
where=$DIRECTORY
while [ ! -e "$where" ]; do where=$(dirname "$where"); done
device=$(findmnt -no SOURCE --target "$where" | sed 's/\[.*//')
echo "disk ${device##*/}"
if [ -e /usr/lib/postgresql/17/lib/timescaledb.so ]; then
  if ls /usr/lib/postgresql/17/lib/timescaledb-tsl-*.so >/dev/null 2>&1; then echo "edition community"; else echo "edition debian"; fi
fi
conf=/etc/postgresql/17/main/postgresql.conf
if [ -e $conf ] && [ ! -e /var/lib/gridberry/database-making ]; then
  data=$(sed -n "s/^data_directory = '\([^']*\)'.*/\1/p" $conf)
  echo "directory $data"
  if [ -e "$data/standby.signal" ]; then echo "state standby"; else echo "state primary"; fi
fi
