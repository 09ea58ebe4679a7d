# shellcheck shell=bash
# Where a stack lies, which ports it has, and how its processes are found. Sourced by the scripts of this folder.
shopt -s inherit_errexit

local_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$local_dir/../.." && pwd -P)
kafka_version=$(sed -n 's/.*<kafka.version>\(.*\)<.*/\1/p' "$local_dir/kafka/pom.xml")
kafka_libs=$root/.local/kafka-libs-$kafka_version

say() { printf '%s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

[[ $root =~ ^[A-Za-z0-9/._+@=-]+$ ]] || fail "the path of this checkout may not hold spaces or quotes: $root"

# Sets stack, home and the four ports: the environment's, else those that the stack was started with, else its own.
choose_stack() {
  stack=$1
  [[ $stack =~ ^[a-z][a-z0-9-]{0,30}$ ]] || fail "a stack's name is a lower case word, not '$stack'"
  home=$root/.local/$stack
  case $stack in
    demo) set -- 15432 19092 19093 19094 ;;
    test) set -- 25432 29092 29093 29094 ;;
    *) set -- "" "" "" "" ;;
  esac
  if [[ -r $home/ports ]]; then read -r -a recorded <"$home/ports" && set -- "${recorded[@]}"; fi
  postgres_port=${KOTINOS_POSTGRES_PORT:-$1}
  kafka_port=${KOTINOS_KAFKA_PORT:-$2}
  kafka_tls_port=${KOTINOS_KAFKA_TLS_PORT:-$3}
  kafka_controller_port=${KOTINOS_KAFKA_CONTROLLER_PORT:-$4}
  local port
  for port in "$postgres_port" "$kafka_port" "$kafka_tls_port" "$kafka_controller_port"; do
    [[ $port =~ ^[0-9]{2,5}$ ]] || fail "stack '$stack' has no ports of its own; set KOTINOS_POSTGRES_PORT," \
      "KOTINOS_KAFKA_PORT, KOTINOS_KAFKA_TLS_PORT and KOTINOS_KAFKA_CONTROLLER_PORT"
  done
}

# Ids of the processes called $1 that work in directory $2. The working directory tells ours apart even when a pid file
# is lost, stale, or names a process that got the number later; it also finds what a crash orphaned.
processes_in() {
  local link links
  links=$(find /proc/[0-9]*/cwd -maxdepth 0 \( -lname "$2" -o -lname "$2 (deleted)" \) 2>/dev/null) || true
  for link in $links; do
    link=${link#/proc/} && link=${link%/cwd}
    [[ $(cat "/proc/$link/comm" 2>/dev/null) != "$1" ]] || printf '%s\n' "$link"
  done
}

# Sends signal $1 to the processes called $2 in directory $3 and waits up to $4 seconds; 1 when some are left.
end_processes() {
  local pids deadline=$((SECONDS + $4))
  pids=$(processes_in "$2" "$3")
  # shellcheck disable=SC2086  # a list of numbers
  [[ -z $pids ]] || kill "-$1" $pids 2>/dev/null || true
  while [[ -n $(processes_in "$2" "$3") ]]; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

accepts() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Fails when somebody listens on port $1, which setting $2 changes; says who where the system tells.
port_must_be_free() {
  accepts "$1" || return 0
  local owner=""
  owner=$(ss -ltnpH "sport = :$1" 2>/dev/null | sed -n 's/.*users:((\(.*\))).*/ by \1/p' | head -1) || true
  fail "port $1 is taken$owner; end that process, or set $2 to another port"
}

# rustup puts cargo here, and a shell started before it was installed does not know.
command -v cargo >/dev/null 2>&1 || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
