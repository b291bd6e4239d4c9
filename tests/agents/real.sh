# shellcheck shell=bash
# What the tests with real agents share: installing one, a scripted model for it, a session of it. Sourced, not run.
# AGENTS_DIR: where agents are, or will be installed.

tests_agents=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$tests_agents/../../scripts/lib.sh"
agents=${AGENTS_DIR:-$HOME/.cache/termalive-agents}

skip() { # 77: the last line says why
  echo "$1"
  exit 77
}

have_agent() { # have_agent NAME PROGRAM: installs it, or skips the test
  have python3 || skip 'python3 is missing'
  [[ ! -x $agents/$1/$2 ]] || return 0
  say "installing $1"
  local log
  log=$(mktemp)
  AGENTS_DIR=$agents timeout 300 "$tests_agents/agent" install "$1" >"$log" 2>&1 || {
    local said
    said=$(tail -n 1 "$log")
    rm -rf "${agents:?}/$1" "$log"
    skip "$1 can't be installed here: $said"
  }
  rm -f "$log"
}

models=()
end_models() {
  [[ ${#models[@]} -eq 0 ]] || kill "${models[@]}" 2>/dev/null || :
  end_private_host
}

declare -A port # of each session's model
model() { # model SESSION AGENT [ARGS]: a model of its own, and a HOME of its own in $private/SESSION
  local session=$1
  mkdir -p "$private/$session"
  ln -s "$agents/$2" "$private/$session/$2"
  port[$session]=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  : >"$private/$session/model"
  FAKE_PORT=${port[$session]} "$tests_agents/agent" model --log "$private/$session/requests" "${@:3}" >"$private/$session/model" &
  models+=($!)
  until grep -q listening "$private/$session/model"; do kill -0 "${models[@]}"; done
}

session() { # session NAME AGENT READY: the agent in a session, ready for its first prompt
  termalive new "$1" --fresh -e "AGENTS_DIR=$private/$1" -e "FAKE_PORT=${port[$1]}" -- "$tests_agents/agent" run "$2" >/dev/null
  termalive logs "$1" --until "$3" --timeout 60s >/dev/null || fail "$1 never showed its prompt: $(termalive logs "$1" | tail -n 5)"
}
