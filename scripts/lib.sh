# shellcheck shell=bash
# What the scripts share. Sourced, not run.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$project/target}

have() { command -v "$1" >/dev/null 2>&1; }
say() { printf '== %s\n' "$*"; }
fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

need() { # need PROGRAM PACKAGE: installs it on Debian and its kin, or says what to do; 1 = it isn't there
  have "$1" && return 0
  local as=()
  if [[ $(id -u) -ne 0 ]]; then
    have sudo || { printf '%s is missing: install the package %s\n' "$1" "$2" >&2 && return 1; }
    as=(sudo)
  fi
  have apt-get || { printf '%s is missing: install the package %s\n' "$1" "$2" >&2 && return 1; }
  say "installing $2"
  { "${as[@]}" apt-get install -y -qq "$2" >/dev/null 2>&1 || {
    "${as[@]}" apt-get update -qq >/dev/null && "${as[@]}" apt-get install -y -qq "$2" >/dev/null
  }; } || { printf '%s could not be installed: install the package %s\n' "$1" "$2" >&2 && return 1; }
}

need_rust() {
  have cargo || [[ ! -x $HOME/.cargo/bin/cargo ]] || PATH=$HOME/.cargo/bin:$PATH
  have cargo || fail 'cargo is missing: install Rust (https://rustup.rs), then run this again'
  have cc || need cc gcc || fail 'a C compiler is missing: some crates need one'
}

private=''
end_private_host() {
  [[ -n $private ]] || return 0
  termalive stop -y >/dev/null 2>&1 || :
  rm -rf "$private"
  unset TERMALIVE_HOME
  private=''
}

private_host() { # a host of its own in a temporary folder, gone when the script ends
  unset TERMALIVE_HOST TERMALIVE_STATE_DIR TERMALIVE_RUNTIME_DIR TERMALIVE_LOGS TERMALIVE_NO_AUTOSTART TERMALIVE_SESSION
  private=$(mktemp -d)
  export TERMALIVE_HOME=$private/home PATH=$target/release:$PATH
  trap end_private_host EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  termalive start -d >/dev/null
}
