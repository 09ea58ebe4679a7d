{{/*
Settings of a service, as JSON of name -> value, so that they render in one order. Names are those of
`<service> config`. Context: {root, name, service, services}.
*/}}
{{- define "kotinos.env" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $full := include "kotinos.fullname" $root -}}
{{- $facts := $root.Files.Get "files/services.json" | fromJson -}}
{{- $edges := $root.Files.Get "files/edges.json" | fromJson -}}
{{- $env := dict
      "KOTINOS_AUTH_ISSUER" $values.config.issuer
      "KOTINOS_DRAIN_DELAY" (printf "%ds" (int $values.config.drain.delay))
      "KOTINOS_DRAIN_HARD" (printf "%ds" (int $values.config.drain.hard))
      "KOTINOS_KAFKA_BROKERS" (join "," $values.kafka.brokers)
      "KOTINOS_KAFKA_SECURITY" $values.kafka.security
      "KOTINOS_LOG" $values.config.log
      "KOTINOS_MIGRATE" "check"
      "KOTINOS_TOPICS" $values.config.topics
-}}
{{- range $listener, $base := dict "HTTP" 8100 "GRPC" 9100 "OPS" 9200 -}}
{{- $port := include "kotinos.port" (dict "root" $root "name" $.name "base" $base) -}}
{{- $_ := set $env (printf "KOTINOS_%s_ADDR" $listener) (printf "%s:%s" $values.config.bind $port) -}}
{{- end -}}
{{- with include "kotinos.jwksUrl" $root -}}{{- $_ := set $env "KOTINOS_AUTH_JWKS_URL" . -}}{{- end -}}
{{- with $values.telemetry.otlpEndpoint -}}{{- $_ := set $env "KOTINOS_OTLP_ENDPOINT" . -}}{{- end -}}
{{- if $values.config.clientKeys.existingSecret -}}
{{- $_ := set $env "KOTINOS_AUTH_CLIENT_KEY_DIR" "/run/secrets/kotinos/client-keys" -}}
{{- end -}}
{{- range $short := get (get $facts .name) "owns" -}}
{{- $_ := set $env (printf "%s_DATABASE_URL_FILE" (upper $short)) (printf "/run/secrets/kotinos/database/%s" $.service.database.key) -}}
{{- end -}}
{{- $own := get $facts .name -}}
{{- if has "identity" $own.owns -}}{{- $_ := set $env "IDENTITY_ISSUER" $values.config.issuer -}}{{- end -}}
{{- range $setting := default list $own.publicUrl -}}
{{- with include "kotinos.publicUrl" $ -}}{{- $_ := set $env $setting . -}}{{- end -}}
{{- end -}}
{{- range $setting, $peer := default dict $own.http -}}
{{- $port := include "kotinos.port" (dict "root" $root "name" $peer "base" 8100) -}}
{{- if eq $peer $.name -}}
{{- $_ := set $env $setting (printf "http://localhost:%s" $port) -}}
{{- else if hasKey $.services $peer -}}
{{- $_ := set $env $setting (printf "http://%s-%s:%s" $full $peer $port) -}}
{{- end -}}
{{- end -}}
{{- if include "kotinos.kafkaSecret" . -}}
{{- $_ := set $env "KOTINOS_KAFKA_USERNAME_FILE" (printf "/run/secrets/kotinos/kafka/%s" $values.kafka.usernameKey) -}}
{{- $_ := set $env "KOTINOS_KAFKA_PASSWORD_FILE" (printf "/run/secrets/kotinos/kafka/%s" $values.kafka.passwordKey) -}}
{{- $_ := set $env "KOTINOS_KAFKA_CA_FILE" (printf "/run/secrets/kotinos/kafka/%s" $values.kafka.caKey) -}}
{{- end -}}
{{- range $peer := get $edges .name -}}
{{- if hasKey $.services $peer -}}
{{- $short := get (get $facts $peer) "short" | upper -}}
{{- $port := include "kotinos.port" (dict "root" $root "name" $peer "base" 9100) -}}
{{- $_ := set $env (printf "%s_GRPC_URL" $short) (printf "http://%s-%s-headless:%s" $full $peer $port) -}}
{{- end -}}
{{- end -}}
{{- range $mount, $secret := .service.secrets -}}
{{- if $secret.existingSecret -}}
{{- range $name, $key := $secret.files -}}
{{- $_ := set $env $name (printf "/run/secrets/kotinos/%s/%s" $mount $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $mount, $map := .service.configMaps -}}
{{- if $map.existingConfigMap -}}
{{- range $name, $key := $map.files -}}
{{- $_ := set $env $name (printf "/etc/kotinos/%s/%s" $mount $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "kotinos.mergeInto" (dict "base" $env "over" .service.env) -}}
{{- $env | toJson -}}
{{- end -}}

{{/* Where people reach a service: as given, or its first host. */}}
{{- define "kotinos.publicUrl" -}}
{{- if .service.publicUrl -}}
{{- .service.publicUrl -}}
{{- else if .service.hosts -}}
{{- printf "https://%s" (first .service.hosts) -}}
{{- end -}}
{{- end -}}

{{- define "kotinos.kafkaSecret" -}}
{{- if eq .root.Values.kafka.security "sasl_ssl" -}}
{{- default .root.Values.kafka.existingSecret .service.kafka.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* What an init container and the container share: settings and mounts. */}}
{{- define "kotinos.containerBody" -}}
image: {{ include "kotinos.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- include "kotinos.securityContext" . | nindent 2 }}
env:
  # Without a CPU limit a process sees the whole node, and would start a thread for each of its cores.
  - name: KOTINOS_CPUS
    valueFrom:
      resourceFieldRef:
        containerName: {{ .container }}
        resource: requests.cpu
  {{- range $name, $value := include "kotinos.env" . | fromJson }}
  - name: {{ $name }}
    value: {{ $value | toString | quote }}
  {{- end }}
resources:
  {{- toYaml .service.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if .service.database.existingSecret }}
  - name: database
    mountPath: /run/secrets/kotinos/database
    readOnly: true
  {{- end }}
  {{- if include "kotinos.kafkaSecret" . }}
  - name: kafka
    mountPath: /run/secrets/kotinos/kafka
    readOnly: true
  {{- end }}
  {{- if .root.Values.config.clientKeys.existingSecret }}
  - name: client-keys
    mountPath: /run/secrets/kotinos/client-keys
    readOnly: true
  {{- end }}
  {{- range $mount, $secret := .service.secrets }}
  {{- if $secret.existingSecret }}
  - name: secret-{{ $mount }}
    mountPath: /run/secrets/kotinos/{{ $mount }}
    readOnly: true
  {{- end }}
  {{- end }}
  {{- range $mount, $map := .service.configMaps }}
  {{- if $map.existingConfigMap }}
  - name: config-{{ $mount }}
    mountPath: /etc/kotinos/{{ $mount }}
    readOnly: true
  {{- end }}
  {{- end }}
  {{- with .service.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "kotinos.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .service.tmpSize }}
{{- with .service.database.existingSecret }}
- name: database
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with include "kotinos.kafkaSecret" . }}
- name: kafka
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .root.Values.config.clientKeys.existingSecret }}
- name: client-keys
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- if ne $.name "all-in-one" }}
    items:
      - key: {{ include "kotinos.short" $ }}.pem
        path: {{ include "kotinos.short" $ }}.pem
{{- end }}
{{- end }}
{{- range $mount, $secret := .service.secrets }}
{{- if $secret.existingSecret }}
- name: secret-{{ $mount }}
  secret:
    secretName: {{ $secret.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- range $mount, $map := .service.configMaps }}
{{- if $map.existingConfigMap }}
- name: config-{{ $mount }}
  configMap:
    name: {{ $map.existingConfigMap }}
{{- end }}
{{- end }}
{{- with .service.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kotinos.short" -}}
{{- get (get (.root.Files.Get "files/services.json" | fromJson) .name) "short" -}}
{{- end -}}
