#!/bin/sh
# Makes every lock anew, hashes and all, without writing where the packages came from. Run it from the top: `make lock`.
set -eu
lock() { "${UV:-.venv/bin/uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade "$@"; }
lock locks/uv.in -o locks/uv.txt
# The CPU engine first, with the gateway: the others keep to its versions, so that all fit into one environment.
lock pyproject.toml locks/cpu.in --override locks/cpu-overrides.txt -o locks/cpu.txt
lock pyproject.toml -c locks/cpu.txt -o locks/gateway.txt
lock pyproject.toml --extra dev --extra loadtest --extra notebook --extra traces -c locks/cpu.txt --override locks/dev-overrides.txt -o locks/dev.txt
# Alone: it is built from source, against the LDAP library of the machine (libldap-dev, libsasl2-dev and a compiler).
lock locks/ldap.in -o locks/ldap.txt
lock pyproject.toml --extra gpu -c locks/dev.txt -o locks/gpu.txt
# The clients that tests/clients tries, each group alone: nothing of Vitrine needs to fit to them.
for clients in locks/clients/*.in; do
  lock "$clients" --override locks/clients/overrides.txt -o "${clients%.in}.txt"
done
for clients in locks/clients/*/; do
  (cd "$clients" && npm install --silent --package-lock-only --no-audit --no-fund && sed -i '/^ *"resolved": /d' package-lock.json)
done
