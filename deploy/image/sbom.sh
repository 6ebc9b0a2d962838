#!/bin/sh
# sbom.sh VERSION CREATED PYTHON_BUILD_TXT: SPDX 2.3 of the image on standard output: installed system packages from dpkg, and
# the pinned wheels that libraries were taken from.
set -eu
version=$1 created=$2 wheels=$3

entries() {
  dpkg-query -W -f '${db:Status-Status} ${Package} ${Version} ${Architecture}\n' |
    awk '$1 == "installed" { print $2, $3, "pkg:deb/" $2 "@" $3 "?arch=" $4, "-" }'
  sed -nE 's|^(torch\|nvidia[a-z-]*)==([^ ]+) --hash=sha256:([0-9a-f]+).*|\1 \2 pkg:pypi/\1@\2 \3|p' "$wheels"
}

entries | sort | awk -v version="$version" -v created="$created" '
  function id(name) { gsub(/[^A-Za-z0-9.-]/, "-", name); return "SPDXRef-" name }
  BEGIN {
    printf "{\"spdxVersion\": \"SPDX-2.3\", \"dataLicense\": \"CC0-1.0\", \"SPDXID\": \"SPDXRef-DOCUMENT\",\n"
    printf " \"name\": \"keyhole-server-%s\", \"documentNamespace\": \"urn:keyhole:sbom:%s:%s\",\n", version, version, created
    printf " \"creationInfo\": {\"created\": \"%s\", \"creators\": [\"Tool: deploy/image/sbom.sh\"]},\n \"packages\": [\n", created
    printf "  {\"SPDXID\": \"SPDXRef-keyhole\", \"name\": \"keyhole-server\", \"versionInfo\": \"%s\", \"downloadLocation\": \"NOASSERTION\", \"filesAnalyzed\": false}", version
  }
  {
    printf ",\n  {\"SPDXID\": \"%s\", \"name\": \"%s\", \"versionInfo\": \"%s\", \"downloadLocation\": \"NOASSERTION\", \"filesAnalyzed\": false", id($1 "-" NR), $1, $2
    if ($4 != "-") printf ", \"checksums\": [{\"algorithm\": \"SHA256\", \"checksumValue\": \"%s\"}]", $4
    printf ", \"externalRefs\": [{\"referenceCategory\": \"PACKAGE-MANAGER\", \"referenceType\": \"purl\", \"referenceLocator\": \"%s\"}]}", $3
    ids[NR] = id($1 "-" NR)
  }
  END {
    printf "\n ],\n \"relationships\": [\n  {\"spdxElementId\": \"SPDXRef-DOCUMENT\", \"relationshipType\": \"DESCRIBES\", \"relatedSpdxElement\": \"SPDXRef-keyhole\"}"
    for (i = 1; i <= NR; i++) printf ",\n  {\"spdxElementId\": \"SPDXRef-keyhole\", \"relationshipType\": \"DEPENDS_ON\", \"relatedSpdxElement\": \"%s\"}", ids[i]
    printf "\n ]}\n"
  }'
