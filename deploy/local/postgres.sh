# shellcheck shell=bash
# The PostgreSQL of a stack: made, started, watched, ended. Sourced by `stack`, after layout.sh.

# The newest server of version 15 or later: Debian keeps the server's programs out of the PATH.
find_postgres_bin() {
  local dir best=""
  for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin "$(pg_config --bindir 2>/dev/null)" | sort -V); do
    [[ -x $dir/initdb && -x $dir/postgres ]] || continue
    (($("$dir/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/') < 15)) || best=$dir
  done
  printf '%s' "$best"
}

# PostgreSQL refuses to run as root, so that root lends it to another user, who must be able to reach its directory:
# in a closed home or a private temporary directory it cannot, and the data goes to /var/tmp. The name there is fixed
# by the checkout's path, so that a later start finds what a crash left.
choose_postgres_home() {
  postgres_bin=$(find_postgres_bin)
  postgres_user=$(id -un)
  if ((EUID == 0)); then
    postgres_user=postgres
    id -u postgres >/dev/null 2>&1 || postgres_user=nobody
  fi
  postgres_home=$home/postgres
  # 80: a socket's path has at most 107 bytes.
  if ((${#postgres_home} > 80)) || ! as_postgres test -x "$root"; then
    postgres_home=/var/tmp/kotinos-$(printf '%s' "$root" | cksum | cut -d' ' -f1)-$stack
  fi
  postgres_data=$postgres_home/data
}

as_postgres() {
  if ((EUID == 0)); then
    # Its own HOME: libpq looks for certificates and passwords there, and may not in root's.
    set -- setpriv --reuid="$postgres_user" --regid="$(id -g "$postgres_user")" --clear-groups -- \
      env HOME="${postgres_home:-/}" "$@"
  fi
  "$@"
}

postgres_pids() { processes_in postgres "$postgres_data"; }

# True when the server that postmaster.pid names lives; orphaned children of a killed one do not count.
postgres_runs() {
  local pid=""
  [[ -r $postgres_data/postmaster.pid ]] && read -r pid <"$postgres_data/postmaster.pid"
  [[ -n $pid ]] && grep -qx "$pid" <<<"$(postgres_pids)"
}

postgres_answers() { "$postgres_bin/pg_isready" -q -h 127.0.0.1 -p "$postgres_port"; }

prepare_postgres_home() {
  if [[ -e $postgres_home || -L $postgres_home ]]; then
    [[ -d $postgres_home && ! -L $postgres_home && $(stat -c %U "$postgres_home") == "$postgres_user" ]] ||
      fail "$postgres_home is not a directory of user $postgres_user; remove it"
  else
    mkdir -m 0700 "$postgres_home"
    if ((EUID == 0)); then chown "$postgres_user:$(id -g "$postgres_user")" "$postgres_home"; fi
  fi
  [[ $postgres_home == "$home/postgres" ]] || ln -sfn "$postgres_home" "$home/postgres"
}

make_postgres_data() {
  [[ ! -f $postgres_data/PG_VERSION ]] || return 0
  say "postgresql: making $postgres_data"
  rm -rf "$postgres_data" "$postgres_home/new"
  # Under another name until it is whole, so that a crash half-way leaves no half-made data.
  as_postgres "$postgres_bin/initdb" --pgdata="$postgres_home/new" --username=kotinos --auth=trust \
    --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$home/initdb.log" 2>&1 ||
    fail "initdb failed: $(tail -3 "$home/initdb.log")"
  mv "$postgres_home/new" "$postgres_data"
}

write_postgres_settings() {
  local fsync=on
  # The tests' data is thrown away, so a crash of the machine may have it; a commit is a commit all the same.
  [[ $stack != test ]] || fsync=off
  cat >"$postgres_data/postgresql.conf" <<END
listen_addresses = 'localhost'
port = $postgres_port
unix_socket_directories = '$postgres_home'
max_connections = 400
shared_buffers = 128MB
# files in the data directory, which leave with it after a kill
dynamic_shared_memory_type = mmap
max_prepared_transactions = 0
synchronous_commit = on
fsync = $fsync
full_page_writes = $fsync
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %d '
END
}

start_postgres() {
  [[ -n $postgres_bin ]] || fail "no PostgreSQL server of version 15 or later; run deploy/local/prerequisites"
  if postgres_runs && postgres_answers; then
    say "postgresql: runs on localhost:$postgres_port"
    return
  fi
  # What a killed server left: its children may still hold the shared memory that a new one must not share.
  end_processes QUIT postgres "$postgres_data" 5 || end_processes KILL postgres "$postgres_data" 5 || true
  port_must_be_free "$postgres_port" KOTINOS_POSTGRES_PORT
  prepare_postgres_home
  make_postgres_data
  write_postgres_settings
  drop_stale_lock
  local log=$home/postgres.log pid deadline=$((SECONDS + 60))
  [[ ! -f $log ]] || mv "$log" "$log.1"
  cd / # the user may not enter the checkout
  as_postgres setsid "$postgres_bin/postgres" -D "$postgres_data" </dev/null >"$log" 2>&1 9>&- &
  pid=$!
  disown "$pid"
  cd "$root"
  until postgres_runs && postgres_answers; do
    kill -0 "$pid" 2>/dev/null || fail "postgresql did not start, see $log: $(tail -3 "$log")"
    ((SECONDS < deadline)) || fail "postgresql did not answer within 60 s, see $log"
    sleep 0.1
  done
  postgres_query "select 1 from pg_database where datname = 'kotinos'" | grep -q 1 ||
    postgres_query 'create database kotinos' >/dev/null
  say "postgresql: started on localhost:$postgres_port, log $log"
}

postgres_query() { psql -X -q -A -t -h 127.0.0.1 -p "$postgres_port" -U kotinos -d postgres -c "$1"; }

# A crashed machine may give a dead server's number to another process, and PostgreSQL then waits for that one for ever.
# Else the file stays: it names the shared memory that the next start takes over.
drop_stale_lock() {
  local pid=""
  [[ -r $postgres_data/postmaster.pid ]] && read -r pid <"$postgres_data/postmaster.pid"
  [[ -z $pid ]] || ! kill -0 "$pid" 2>/dev/null || rm -f "$postgres_data/postmaster.pid"
}

# INT is PostgreSQL's fast stop, QUIT its immediate one, for data that nobody wants.
stop_postgres() {
  local clean=$1 signal=INT
  [[ -n $(postgres_pids) ]] || return 0
  [[ $clean == no ]] || signal=QUIT
  end_processes "$signal" postgres "$postgres_data" 20 || end_processes KILL postgres "$postgres_data" 10 ||
    fail "postgresql does not end: $(postgres_pids | xargs)"
  say "postgresql: stopped"
}

# The postmaster alone: its children find out by themselves, as after a crash.
kill_postgres() {
  local pid deadline=$((SECONDS + 10))
  postgres_runs || fail "postgresql does not run"
  read -r pid <"$postgres_data/postmaster.pid"
  kill -KILL "$pid"
  while postgres_runs; do
    ((SECONDS < deadline)) || fail "postgresql does not end: $pid"
    sleep 0.05
  done
}

clean_postgres() {
  local shared_memory=""
  # Line 7 of what a killed server left: key and id of its few bytes of System V shared memory.
  [[ ! -r $postgres_data/postmaster.pid ]] || shared_memory=$(sed -n '7s/^ *[0-9]* *//p' "$postgres_data/postmaster.pid")
  [[ -z $shared_memory ]] || ipcrm -m "$shared_memory" 2>/dev/null || true
  rm -rf "$postgres_home"
}
