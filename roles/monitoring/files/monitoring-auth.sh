#!/bin/sh
# Writes vmauth's configuration: what each token opens. Tokens are in no argument and no environment.
umask 077
read -r write <"$CREDENTIALS_DIRECTORY/write.token" || [ -n "$write" ] || exit 1
read -r read <"$CREDENTIALS_DIRECTORY/read.token" || [ -n "$read" ] || exit 1
cat >"$RUNTIME_DIRECTORY/auth.yml" <<END
users:
  - bearer_token: "$write"
    url_map:
      - {src_paths: ["/api/v1/write"], url_prefix: "http://127.0.0.1:8428"}
      - {src_paths: ["/api/v2/alerts"], url_prefix: "http://127.0.0.1:9093"}
  - bearer_token: "$read"
    url_map:
      - src_paths: ["/api/v1/query", "/api/v1/query_range", "/api/v1/series", "/api/v1/labels", "/api/v1/label/[^/]+/values"]
        url_prefix: "http://127.0.0.1:8428"
      # Not /api/v2/alerts, which also takes alerts in.
      - {src_paths: ["/api/v2/alerts/groups"], url_prefix: "http://127.0.0.1:9093"}
END
