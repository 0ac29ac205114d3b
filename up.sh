#!/bin/sh
# Everything in one command: the S3 server, its bucket, then Kafka, PostgreSQL, Streamgauge and all that watches it.
# Settings of your own stand in deploy/.env (deploy/.env.example lists them). Stop it with `make down`.
set -eu
cd "$(dirname "$0")/deploy"
# Later files win.
set -- --env-file full.env
[ ! -e .env ] || set -- "$@" --env-file .env

# Prints a setting as Compose takes it: from this shell, else from .env, else what is given.
setting() {
  value=$(printenv "$1" || { [ ! -e .env ] || sed -n "s/^$1=//p" .env | tail -n 1; })
  printf '%s' "${value:-$2}"
}

docker compose "$@" up -d s3
# The bucket, and nothing else: this server has no alarms. Without Terraform the container `s3-init` makes the bucket.
if command -v terraform >/dev/null; then
  tries=60
  until curl -fsS http://localhost:4566/health >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "up.sh: the S3 server does not answer: docker compose logs s3" >&2; exit 1; }
    sleep 1
  done
  AWS_ACCESS_KEY_ID=$(setting AWS_ACCESS_KEY_ID streamgauge)
  AWS_SECRET_ACCESS_KEY=$(setting AWS_SECRET_ACCESS_KEY streamgauge-secret)
  export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
  terraform -chdir=terraform init -input=false
  terraform -chdir=terraform apply -input=false -auto-approve -var alarms=false -var endpoint=http://localhost:4566 \
    -var "region=$(setting AWS_DEFAULT_REGION us-east-2)" -var "bucket=$(setting S3_BUCKET pageview-data)"
fi
docker compose "$@" up -d --build --wait
echo "Streamgauge is on http://localhost:8080, Grafana on http://localhost:3000 (admin, admin); the rest stands in deploy/README.md"
