# shellcheck shell=bash
# The Kafka of a stack: one node that is broker and controller. Sourced by `stack`, after layout.sh.

# The broker syncs each new partition to the disk, 250 a second on a common one, and each test makes topics of its own:
# where the machine has room, the test stack's data is in memory. It outlives the broker, not the machine.
choose_kafka_home() {
  kafka_home=$home/kafka
  kafka_data=$kafka_home/data
  local memory=/dev/shm size=0
  [[ $stack == test && -w $memory ]] && size=$(df --output=size -k "$memory" | tail -1)
  # 2 GiB, and a container's usual 64 MiB will not do.
  ((size < 2097152)) || kafka_data=$memory/kotinos-$(printf '%s' "$root" | cksum | cut -d' ' -f1)-$stack
}

kafka_pids() { processes_in java "$kafka_home"; }

kafka_answers() { grep -q 'Kafka Server started' "$home/kafka.log" 2>/dev/null && accepts "$kafka_port"; }

# The jars, once for all stacks of the checkout. Under another name until all are there.
get_kafka_jars() {
  [[ ! -d $kafka_libs ]] || return 0
  say "kafka: getting Apache Kafka $kafka_version from Maven Central (55 MB, once)"
  mkdir -p "$root/.local"
  local dir
  dir=$(mktemp -d "$root/.local/kafka-libs-new.XXXXXX")
  if ! mvn -q -B -ntp -f "$local_dir/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$dir" </dev/null >"$root/.local/maven.log" 2>&1; then
    rm -rf "$dir"
    fail "maven could not get Kafka's jars: $(tail -5 "$root/.local/maven.log")"
  fi
  # Another stack's start may have been quicker.
  mv -T "$dir" "$kafka_libs" 2>/dev/null || rm -rf "$dir"
}

# A CA of our own and a server certificate for localhost, as the one PEM file that the broker reads.
make_kafka_certificate() {
  local dir=$kafka_home/tls key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
  mkdir -p "$dir" &&
    openssl req -x509 "${key[@]}" -days 3650 -subj "/CN=Kotinos local CA" -keyout "$dir/ca.key" -out "$dir/ca.crt" &&
    openssl req -new "${key[@]}" -subj "/CN=localhost" -keyout "$dir/server.key" -out "$dir/server.csr" &&
    openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 3650 \
      -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n') -out "$dir/server.crt" &&
    cat "$dir/server.key" "$dir/server.crt" "$dir/ca.crt" >"$dir/server.pem" &&
    chmod 0600 "$dir"/*.key "$dir/server.pem"
}

# KOTINOS_KAFKA_PROXIED=PORT:ADVERTISED adds a listener at PORT whose clients are told to come to port ADVERTISED, where a
# test's proxy carries them to PORT. Without it a client would learn the broker's own address and go past the proxy.
write_kafka_settings() {
  local listen="" advertise="" map="" session=9000
  if [[ -n ${KOTINOS_KAFKA_PROXIED:-} ]]; then
    [[ $KOTINOS_KAFKA_PROXIED =~ ^[0-9]{2,5}:[0-9]{2,5}$ ]] || fail "KOTINOS_KAFKA_PROXIED must be PORT:ADVERTISED"
    listen=,PROXIED://localhost:${KOTINOS_KAFKA_PROXIED%:*}
    advertise=,PROXIED://127.0.0.1:${KOTINOS_KAFKA_PROXIED#*:}
    map=,PROXIED:PLAINTEXT
  fi
  # A broker that was killed is refused until the session of its former self is over. Where one is killed again and
  # again that is soon; elsewhere a slow machine should not lose its session.
  [[ $stack != campaign ]] || session=1500
  cat >"$kafka_home/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:$kafka_controller_port
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://localhost:$kafka_port,SASL_SSL://localhost:$kafka_tls_port,CONTROLLER://localhost:$kafka_controller_port$listen
advertised.listeners=PLAINTEXT://localhost:$kafka_port,SASL_SSL://localhost:$kafka_tls_port$advertise
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT$map
broker.session.timeout.ms=$session
broker.heartbeat.interval.ms=$((session / 5))
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=$kafka_home/tls/server.pem
log.dirs=$kafka_data
num.partitions=1
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
# small files and tables: the tests make thousands of nearly empty partitions
log.segment.bytes=67108864
log.index.size.max.bytes=131072
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.threads=1
log.segment.delete.delay.ms=1000
END
}

kafka_java() { java -Djava.awt.headless=true "-Dlog4j2.configurationFile=$local_dir/kafka/log4j2.xml" "$@"; }

# `formatted` is written last: without it the directory is half-made, and is made anew.
make_kafka_data() {
  [[ ! -f $kafka_data/formatted || ! -f $kafka_home/password ]] || return 0
  say "kafka: making $kafka_data"
  clean_kafka
  mkdir -m 0700 "$kafka_home" "$kafka_data"
  make_kafka_certificate >"$home/openssl.log" 2>&1 || fail "openssl failed: $(tail -3 "$home/openssl.log")"
  (umask 077 && openssl rand -hex 16 >"$kafka_home/password")
  write_kafka_settings
  # Letters in the place of the two other signs: an id that begins with `-` would be taken for an option.
  kafka_java -cp "$kafka_libs/*" kafka.tools.StorageTool format --cluster-id "$(openssl rand -base64 16 | tr '+/' 'AB' | cut -c1-22)" \
    --config "$kafka_home/server.properties" \
    --add-scram "SCRAM-SHA-512=[name=kotinos,password=$(cat "$kafka_home/password")]" >"$home/kafka-format.log" 2>&1 ||
    fail "the broker's directory could not be made: $(tail -3 "$home/kafka-format.log")"
  touch "$kafka_data/formatted"
}

start_kafka() {
  if [[ -n $(kafka_pids) ]] && kafka_answers; then
    say "kafka: runs on localhost:$kafka_port"
    return
  fi
  end_processes KILL java "$kafka_home" 10 || fail "a half-started broker does not end: $(kafka_pids | xargs)"
  port_must_be_free "$kafka_port" KOTINOS_KAFKA_PORT
  port_must_be_free "$kafka_tls_port" KOTINOS_KAFKA_TLS_PORT
  port_must_be_free "$kafka_controller_port" KOTINOS_KAFKA_CONTROLLER_PORT
  get_kafka_jars
  make_kafka_data
  write_kafka_settings
  local log=$home/kafka.log pid deadline=$((SECONDS + 120)) heap=384m quick=()
  [[ $stack != test ]] || heap=1g
  # It lives for seconds, and is back sooner without the second compiler and the collector's threads.
  [[ $stack != campaign ]] || quick=(-XX:TieredStopAtLevel=1 -XX:+UseSerialGC)
  [[ ! -f $log ]] || mv "$log" "$log.1"
  cd "$kafka_home"
  # shellcheck disable=SC2094  # the log is only read afterwards
  setsid java -Xms128m "-Xmx$heap" "${quick[@]}" -Djava.awt.headless=true "-Dlog4j2.configurationFile=$local_dir/kafka/log4j2.xml" \
    -cp "$kafka_libs/*" kafka.Kafka "$kafka_home/server.properties" </dev/null >"$log" 2>&1 9>&- &
  pid=$!
  disown "$pid"
  cd "$root"
  until kafka_answers; do
    kill -0 "$pid" 2>/dev/null || fail "kafka did not start, see $log: $(tail -3 "$log")"
    ((SECONDS < deadline)) || fail "kafka did not answer within 120 s, see $log"
    sleep 0.1
  done
  say "kafka: started on localhost:$kafka_port, with TLS on $kafka_tls_port, log $log"
}

stop_kafka() {
  local clean=$1
  [[ -n $(kafka_pids) ]] || return 0
  # A clean stop moves leaders and syncs files, which data that nobody wants does not need.
  [[ $clean == yes ]] || end_processes TERM java "$kafka_home" 20 || true
  end_processes KILL java "$kafka_home" 10 || fail "kafka does not end: $(kafka_pids | xargs)"
  say "kafka: stopped"
}

kill_kafka() { end_processes KILL java "$kafka_home" 10 || fail "kafka does not end: $(kafka_pids | xargs)"; }

clean_kafka() { rm -rf "$kafka_home" "$kafka_data"; }
