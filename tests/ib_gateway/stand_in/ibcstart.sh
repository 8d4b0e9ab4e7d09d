#!/bin/bash
# Stands in for IBC's script of this name: takes its arguments, starts what it would, and starts it again
# where the Gateway has left a file `autorestart`, as IBC does each night.
set -u
version=$1
shift
for word; do
    case $word in
    --tws-path=*) programs=${word#*=} ;;
    --tws-settings-path=*) settings=${word#*=} ;;
    --ibc-path=*) ibc=${word#*=} ;;
    --ibc-ini=*) ini=${word#*=} ;;
    --mode=*) mode=${word#*=} ;;
    --on2fatimeout=exit | --gateway) ;;
    *) echo "Error: Invalid parameter '$word'" >&2 && exit 3 ;;
    esac
done
echo "Starting IBC version $(cat "$ibc/version") on $(date +%F) at $(date +%T)"
program=$programs/ibgateway/$version
[ -d "$program/jars" ] || { echo "Error: Offline TWS/Gateway version $version is not installed" >&2 && exit 4; }
[ -e "$ini" ] || { echo "Error: IBC configuration file: $ini does not exist" >&2 && exit 6; }
read -r jre <"$program/.install4j/inst_jre.cfg"
cd "$settings" || exit 5
mapfile -t options < <(grep -v -e '^#' -e '^-D' -e '^$' "$program/ibgateway.vmoptions")
while :; do
    trap 'kill -TERM $child' TERM INT
    "$jre/bin/java" -cp "$program/jars/*:$ibc/IBC.jar" "${options[@]}" "-DjtsConfigDir=$settings" \
        ibcalpha.ibc.IbcGateway "$ini" "$mode" &
    child=$!
    wait $child
    status=$?
    trap - TERM INT
    [ $status -le 128 ] || { wait $child && status=$? || status=$?; }
    echo "IBC returned exit status $status"
    found=$(find "$settings" -type f -name autorestart)
    [ -n "$found" ] || break
    rm -f "$found"
    echo "IBC will restart shortly"
    sleep 2
done
exit $status
