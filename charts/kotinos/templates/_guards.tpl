{{/*
What a schema cannot say. Each guard names the value and the fix.
*/}}
{{- define "kotinos.guards" -}}
{{- $values := .Values -}}
{{- $services := include "kotinos.services" . | fromJson -}}
{{- if not $services -}}
{{- fail "no service is enabled: set services.<name>.enabled=true, or leave defaults.enabled=true" -}}
{{- end -}}
{{- if and (hasKey $services "all-in-one") (gt (len $services) 1) -}}
{{- fail "services.all-in-one runs every service in one process and never beside the others: set defaults.enabled=false with services.all-in-one.enabled=true, or services.all-in-one.enabled=false" -}}
{{- end -}}
{{- include "kotinos.guards.issuer" . -}}
{{- if not $values.kafka.brokers -}}
{{- fail "kafka.brokers is empty: list host:port of at least one broker" -}}
{{- end -}}
{{- if le (int $values.config.drain.hard) (int $values.config.drain.delay) -}}
{{- fail (printf "config.drain.hard (%d) must be greater than config.drain.delay (%d): work needs time to end after endpoints have withdrawn" (int $values.config.drain.hard) (int $values.config.drain.delay)) -}}
{{- end -}}
{{- if and $values.route.enabled (not $values.route.parentRefs) -}}
{{- fail "route.enabled needs route.parentRefs: name the Gateway that serves the hosts" -}}
{{- end -}}
{{- range $name, $service := $services -}}
{{- include "kotinos.guards.service" (dict "root" $ "name" $name "service" $service) -}}
{{- end -}}
{{- end -}}

{{- define "kotinos.guards.issuer" -}}
{{- $issuer := .Values.config.issuer -}}
{{- if not $issuer -}}
{{- fail "config.issuer is empty: set the public address of identity, as https://id.example.org" -}}
{{- end -}}
{{- $local := regexMatch "^http://(localhost|127\\.0\\.0\\.1|\\[::1\\])(:[0-9]+)?$" $issuer -}}
{{- if not (or (regexMatch "^https://[^/?#]+(/[^?#]*[^/?#])?$" $issuer) $local) -}}
{{- fail (printf "config.issuer %q must be https, or http on localhost for a laptop, without query, fragment or final slash" $issuer) -}}
{{- end -}}
{{- end -}}

{{- define "kotinos.guards.service" -}}
{{- $service := .service -}}
{{- if not $service.database.existingSecret -}}
{{- fail (printf "services.%s.database.existingSecret is empty: name a Secret whose key %q holds the connection URL" .name $service.database.key) -}}
{{- end -}}
{{- $facts := get (.root.Files.Get "files/services.json" | fromJson) .name -}}
{{- if and $facts.publicUrl (not (include "kotinos.publicUrl" .)) -}}
{{- fail (printf "services.%s.publicUrl is empty: set where people reach it, as https://my.example.org, or services.%s.hosts" .name .name) -}}
{{- end -}}
{{- range $mount := default list $facts.secrets -}}
{{- if not (dig $mount "existingSecret" "" $service.secrets) -}}
{{- fail (printf "services.%s.secrets.%s.existingSecret is empty: name a Secret with %s" $.name $mount (dig $mount "files" dict $service.secrets | values | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .root.Values.kafka.security "sasl_ssl") (not (include "kotinos.kafkaSecret" .)) -}}
{{- fail (printf "kafka.security is sasl_ssl, but neither kafka.existingSecret nor services.%s.kafka.existingSecret names a Secret with %s, %s and %s" .name .root.Values.kafka.usernameKey .root.Values.kafka.passwordKey .root.Values.kafka.caKey) -}}
{{- end -}}
{{- $drain := add $service.preStopSeconds .root.Values.config.drain.hard -}}
{{- if lt (int (include "kotinos.gracePeriod" .)) (int $drain) -}}
{{- fail (printf "services.%s.terminationGracePeriodSeconds (%s) is less than preStopSeconds + config.drain.hard (%d): the pod would be killed while it drains; leave it empty to have it computed" .name (include "kotinos.gracePeriod" .) $drain) -}}
{{- end -}}
{{- if and $service.autoscaling.enabled (lt (int $service.autoscaling.maxReplicas) (int $service.autoscaling.minReplicas)) -}}
{{- fail (printf "services.%s.autoscaling.maxReplicas (%d) is less than minReplicas (%d)" .name (int $service.autoscaling.maxReplicas) (int $service.autoscaling.minReplicas)) -}}
{{- end -}}
{{- range $key, $value := $service.env -}}
{{- if regexMatch "(_DATABASE_URL|_KEY|_PASSWORD|_TOKEN|_SECRET|_KEK)$" $key -}}
{{- fail (printf "services.%s.env.%s would put a secret into the pod's specification: create a Secret and name it in services.%s.secrets, which sets %s_FILE" $.name $key $.name $key) -}}
{{- end -}}
{{- if eq $key "KOTINOS_EGRESS_ALLOW" -}}
{{- fail (printf "services.%s.env.KOTINOS_EGRESS_ALLOW opens private addresses to outbound calls, and is for tests on one machine: take it out" $.name) -}}
{{- end -}}
{{- if eq $key "KOTINOS_CPUS" -}}
{{- fail (printf "services.%s.env.KOTINOS_CPUS follows resources.requests.cpu: set that instead" $.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
