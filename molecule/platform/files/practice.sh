#!/bin/sh
# Runs on the virtual Pi: a practice exchange in real time, in the network that the recorder's project will have.
set -eu
place=/mnt/data/practice
image=$(docker inspect --format '{{.Config.Image}}' gridberry-exchange)
install -d -o 10001 -g 10001 -m 0700 "$place"
umask 077
echo practice-key >"$place/key"
echo practice-secret >"$place/secret"
cat >"$place/exchange.toml" <<'TOML'
host = "0.0.0.0"
port = 8000
stream_port = 8001
state_directory = "/var/lib/gridbot-exchange"
api_key_file = "/var/lib/gridbot-exchange/key"
api_secret_file = "/var/lib/gridbot-exchange/secret"
speed = 1
weight_per_minute = 1000000
balances = { USDT = "1" }

[[symbols]]
symbol = "BTC/USDT"
seed = 1
spread = "0.0002"
book_levels = 20
tick_size = "0.01"
lot_size = "0.00001"

[[symbols]]
symbol = "ETH/USDT"
seed = 2
start_price = "3000"
spread = "0.0002"
book_levels = 20
tick_size = "0.01"
lot_size = "0.0001"
TOML
chown 10001:10001 "$place"/*
# As compose would make it, which then takes it for its own.
docker network inspect gridberry-recorder_default >/dev/null 2>&1 ||
    docker network create --label com.docker.compose.project=gridberry-recorder \
        --label com.docker.compose.network=default gridberry-recorder_default
docker run --detach --name practice --restart unless-stopped --no-healthcheck --memory 128m \
    --network gridberry-recorder_default --network-alias practice --entrypoint gridexchange \
    --volume "$place:/var/lib/gridbot-exchange" "$image" --config /var/lib/gridbot-exchange/exchange.toml
