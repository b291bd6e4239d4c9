# shellcheck shell=bash
# What the patterns share: agents that are there until the script ends. Sourced, not run.
#
# AGENT   a command to be used for every role, such as "llm chat" (default: the scripted agent of this project)
# READY   a regex for the row that shows that an agent waits for a prompt (default: a row with nothing but ">")
# MANNER  of the scripted agent: cooked, readline or fullscreen (default: cooked)

agents=() # only these are removed: a session of that name that was there before is somebody's
trap '[[ ${#agents[@]} -eq 0 ]] || termalive rm -f "${agents[@]}" >/dev/null 2>&1 || :' EXIT

agent() { # agent NAME ROLE: a session of this name, ready for its first prompt
  local command=${AGENT:-"$(dirname "${BASH_SOURCE[0]}")/../agents/agent ${MANNER:-cooked} $2"}
  termalive new "$1" --fresh --command "$command" >/dev/null
  agents+=("$1")
  ready "$1"
}

ready() { # ready NAME: waits until it shows its prompt
  termalive logs "$1" --until "${READY:-^\W*>\W*$}" --timeout 60s >/dev/null || {
    echo "${0##*/}: $1 ended, or shows no row that says it is ready (READY names one)" >&2
    return 1
  }
}

one_line() { tr -s '[:space:]' ' ' <<<"$*"; } # a line program takes each line as a prompt of its own
