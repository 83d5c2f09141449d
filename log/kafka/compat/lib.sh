# What the clients' check scripts share; sourced by them, not run.
#
# A check script prints what it found on its standard output, one line each, fields divided by tabs:
#
#	VERSION  text            the client's version
#	PASS     check
#	FAIL     check  reason
#	SKIP     check  reason   could not be tried here
#
# What the client itself says goes to standard error. BOOTSTRAP is the server's host:port; SERVER_DIR, when set, names a server
# that `server` may restart or kill. SASL_BOOTSTRAP and MTLS_BOOTSTRAP, when set, are servers that ask who their clients are.
compat=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${GRETE_COMPAT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/grete-compat}
mkdir -p "$cache"
: "${BOOTSTRAP:?host:port of the server}"
QUICK=${QUICK:-}
run=$(date +%s)$RANDOM # in every topic's name: a check may run again on the same server
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

version() { printf 'VERSION\t%s\n' "$1"; }
skip() { printf 'SKIP\t%s\t%s\n' "$1" "$2"; }

# check NAME COMMAND...: runs a command or function under set -e and prints PASS or FAIL with the last thing it said.
check() {
	local name=$1 rc
	shift
	(set -euo pipefail; "$@") >"$tmp/said" 2>&1 </dev/null
	rc=$?
	{ echo "--- $name: $rc"; tail -c 4000 "$tmp/said"; } >&2
	if [ $rc = 0 ]; then
		printf 'PASS\t%s\n' "$name"
	else
		printf 'FAIL\t%s\texit %s: %s\n' "$name" $rc "$(grep -v '^ *$' "$tmp/said" | tail -n 3 | tr '\n\t' '  ' | tail -c 400)"
	fi
}

# with_restart NAME COMMAND...: a check that restarts the server, where that is allowed.
with_restart() {
	if [ -n "${SERVER_DIR:-}" ]; then check "$@"; else skip "$1" "the server is not ours to restart"; fi
}

# with_security NAME COMMAND...: a check that needs servers which ask who their clients are: SASL_BOOTSTRAP and MTLS_BOOTSTRAP, with
# the users and ACLs that `server` tells of and the certificates in CERTS.
with_security() {
	if [ -n "${SASL_BOOTSTRAP:-}" ]; then check "$@"; else skip "$1" "there is no server that asks who its clients are"; fi
}

# same WANT GOT: compares two files.
same() { cmp -s "$1" "$2" || { diff "$1" "$2" | head -n 8; echo "wanted $(wc -l <"$1") lines as in $(basename "$1"), got $(wc -l <"$2")"; return 1; }; }

# until_true SECONDS COMMAND...: tries until the command succeeds.
until_true() {
	local end=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt $end ] || { echo "gave up on: $*"; return 1; }
		sleep 0.5
	done
}

# gone REASON: ends the script when the client itself cannot be had. In CI that is a failure.
gone() {
	if [ -n "${CI:-}" ]; then printf 'FAIL\tinstall\t%s\n' "$1"; else skip install "$1"; fi
	exit 0
}

# alone: from here on, nobody else installs into the cache; done ends that.
alone() { exec 9>"$cache/lock" && flock 9; }
done_alone() { exec 9>&-; }

# debian COMMAND PACKAGE...: makes sure of a command of Debian's packages.
debian() {
	local command=$1
	shift
	command -v "$command" >/dev/null && [ -z "$(dpkg-query -W -f '${Status}\n' "$@" 2>&1 | grep -v 'ok installed')" ] && return
	command -v apt-get >/dev/null || gone "$command: no apt-get here to install $*"
	[ "$(id -u)" = 0 ] || gone "$command is missing: apt-get install $*"
	alone
	{ DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" ||
		{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }; } >&2 ||
		gone "apt-get install $* failed"
	done_alone
}

# python PACKAGE==VERSION...: sets $python to an interpreter of an environment with exactly these.
python() {
	local venv="$cache/python-$(echo "$*" | tr ' =' '__')"
	command -v python3 >/dev/null || gone "no python3 here"
	[ -e "$venv/ready" ] || { rm -rf "$venv" && python3 -m venv "$venv" && "$venv/bin/pip" -q install "$@" && touch "$venv/ready"; } >&2 ||
		gone "pip install $* failed"
	python="$venv/bin/python"
}

# jars NAME GROUP:ARTIFACT:VERSION...: sets $lib to a folder with these jars and all that they need.
jars() {
	local dir="$cache/java-$1" g a v
	shift
	command -v mvn >/dev/null && command -v javac >/dev/null || gone "no Maven or no javac here"
	lib="$dir/lib"
	alone
	[ -e "$dir/ready" ] && [ "$(cat "$dir/ready")" = "$*" ] && done_alone && return
	rm -rf "$dir" && mkdir -p "$dir"
	{
		echo "<project><modelVersion>4.0.0</modelVersion><groupId>compat</groupId><artifactId>compat</artifactId><version>1</version><dependencies>"
		for d in "$@"; do
			IFS=: read -r g a v <<<"$d"
			echo "<dependency><groupId>$g</groupId><artifactId>$a</artifactId><version>$v</version></dependency>"
		done
		echo "</dependencies></project>"
	} >"$dir/pom.xml"
	(cd "$dir" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib) >&2 || gone "maven could not fetch $*"
	echo "$*" >"$dir/ready"
	done_alone
}

# kafka_jars 3.9.2|4.3.1: sets $lib to everything of one Kafka release: clients, tools, broker, Streams and Connect.
kafka_jars() {
	case $1 in
	3.*) jars "kafka-$1" "org.apache.kafka:kafka-tools:$1" "org.apache.kafka:kafka_2.13:$1" ;;
	*) jars "kafka-$1" "org.apache.kafka:kafka-tools:$1" "org.apache.kafka:kafka_2.13:$1" "org.apache.kafka:kafka-streams:$1" \
		"org.apache.kafka:connect-runtime:$1" "org.apache.kafka:connect-file:$1" org.slf4j:slf4j-simple:1.7.36 ;;
	esac
}

# jvm ARGS...: a Java that starts fast and stays small.
jvm() {
	java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel="${JAVA_LOG:-warn}" -cp "$lib/*:${classes:-}" "$@"
}

# javac_here FILE...: compiles sources against $lib and sets $classes.
javac_here() {
	classes="$tmp/classes"
	mkdir -p "$classes" && javac -nowarn -proc:none -cp "$lib/*" -d "$classes" "$@" >&2
}

# gomod NAME FILE MODULE@VERSION...: builds a program of one file in a module of its own, outside this one (so its name does not end in
# .go here), and sets $program.
gomod() {
	local dir="$cache/go-$1" file=$2
	shift 2
	command -v go >/dev/null || gone "no go here"
	mkdir -p "$dir" && cp "$file" "$dir/main.go"
	(
		cd "$dir" || exit 1
		[ -e ready ] && [ "$(cat ready)" = "$*" ] || { rm -f go.mod go.sum && go mod init compat && go get "$@" && echo "$*" >ready; }
		go build -mod=mod -o check main.go
	) >&2 || gone "go could not build $* for its check"
	program="$dir/check"
}
