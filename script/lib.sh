# shellcheck shell=bash
# shellcheck disable=SC2034 # The names are for those who source this.
#
# What the scripts share: where things are, which versions are meant, and how to speak to the reader.
# It is sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.tools
runtime=${TAMIZ_RUN:-$tools/run}
# Downloads outlive a checkout, so that a fresh clone on the same machine is quick.
cache=${TAMIZ_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tamiz}

kafka_versions=(4.3.1 3.9.1)
apicurio_version=2.6.13.Final
maven_dependency_plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
python_packages=(confluent-kafka==2.16.1 fastavro==1.13.1)

# The channel stands once, in rust-toolchain.toml, which rustup reads too.
rust_version=$(sed -n 's/^channel *= *"\(.*\)"$/\1/p' "$root/rust-toolchain.toml")

# A shell that was open before rustup came does not have its folder in the path.
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

say() { printf '%s\n' "$*" >&2; }

# Stops the script: the first argument is the exit code (1 failed, 2 the caller must change something).
die() {
    local code=$1
    shift
    say "${0##*/}: $*"
    exit "$code"
}

# Prints the comment that opens the calling script: its help is written once.
print_help() { sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$0"; }

# Says a number of milliseconds since the given start, as seconds with one decimal.
seconds_since() {
    local now elapsed_ms
    now=$(date +%s%3N)
    elapsed_ms=$((now - $1))
    printf '%d.%d s' $((elapsed_ms / 1000)) $((elapsed_ms % 1000 / 100))
}

now_ms() { date +%s%3N; }
