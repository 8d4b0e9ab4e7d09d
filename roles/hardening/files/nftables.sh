#!/bin/sh
# Written by Ansible (role hardening). Does what nftables.service does in Debian, but empties only what is
# left of earlier starts, and not what others keep in the kernel: Docker's rules, without which no container
# reaches the world or is reached, and Gridberry's firewalls. $1: start or stop. RULES is for tests.
set -eu
: "${RULES:=/etc/nftables.conf}"

# Tables of iptables, which Docker and others use; of Docker itself, from version 29 on; of shared networks.
kept='table (inet gridberry(_ib)?|ip6? (filter|nat|mangle|raw|security)|ip6? docker-.*|ip6? nm-shared-.*|ip6? io\.systemd\..*)'

gone=$(nft list tables | grep '^table ' | grep -vxE "$kept" | sed 's/^/delete /')
loaded=
[ "$1" != start ] || loaded=$(sed -E 's/^([[:space:]]*)flush ruleset( [a-z0-9]+)?[[:space:]]*;?/\1/' "$RULES")
# One transaction: there is no moment without rules, and rules that are wrong change nothing.
printf '%s\n' "$gone" "$loaded" | nft -f -
