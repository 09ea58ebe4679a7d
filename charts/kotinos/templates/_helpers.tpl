{{- define "kotinos.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "kotinos.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The only place that renders a reference to the image. */}}
{{- define "kotinos.image" -}}
{{- $image := .Values.image -}}
{{- $name := ternary (printf "%s/%s" $image.registry $image.repository) $image.repository (ne $image.registry "") -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Selectors are frozen: changing one makes every upgrade fail. Context: {root, name}. */}}
{{- define "kotinos.selectorLabels" -}}
app.kubernetes.io/name: {{ include "kotinos.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "kotinos.labels" -}}
{{ include "kotinos.selectorLabels" . }}
app.kubernetes.io/part-of: kotinos
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/*
Merges `over` into `base`: maps merge, all else replaces, null leaves the default. (sprig's merges would leave the
default for false, 0 and "" as well.)
*/}}
{{- define "kotinos.mergeInto" -}}
{{- range $key, $value := .over -}}
{{- if kindIs "invalid" $value -}}
{{- else if and (kindIs "map" $value) (kindIs "map" (get $.base $key)) -}}
{{- include "kotinos.mergeInto" (dict "base" (get $.base $key) "over" $value) -}}
{{- else -}}
{{- $_ := set $.base $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Every enabled service with its values merged over the defaults: JSON of name -> values. all-in-one is off unless its own
entry says otherwise.
*/}}
{{- define "kotinos.services" -}}
{{- $services := dict -}}
{{- range $name := .Files.Get "files/services.json" | fromJson | keys | sortAlpha -}}
{{- $own := default dict (get $.Values.services $name) -}}
{{- $service := mustDeepCopy $.Values.defaults -}}
{{- include "kotinos.mergeInto" (dict "base" $service "over" $own) -}}
{{- $enabled := ternary (eq (toString $own.enabled) "true") $service.enabled (eq $name "all-in-one") -}}
{{- if $enabled -}}
{{- $_ := set $services $name $service -}}
{{- end -}}
{{- end -}}
{{- $services | toJson -}}
{{- end -}}

{{/* Port of a listener. Context: {root, name, base}; base is 8100 for HTTP, 9100 for gRPC, 9200 for ops. */}}
{{- define "kotinos.port" -}}
{{- $facts := .root.Files.Get "files/services.json" | fromJson -}}
{{- add .base (get (get $facts .name) "number") -}}
{{- end -}}

{{- define "kotinos.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "kotinos.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* preStop + hard drain + 10, unless given. Context: {root, service}. */}}
{{- define "kotinos.gracePeriod" -}}
{{- if kindIs "invalid" .service.terminationGracePeriodSeconds -}}
{{- add .service.preStopSeconds .root.Values.config.drain.hard 10 -}}
{{- else -}}
{{- .service.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{- define "kotinos.jwksUrl" -}}
{{- if .Values.config.jwksUrl -}}
{{- .Values.config.jwksUrl -}}
{{- else -}}
{{- $services := include "kotinos.services" . | fromJson -}}
{{- if hasKey $services "all-in-one" -}}
{{- printf "http://localhost:%s/oauth2/keys.json" (include "kotinos.port" (dict "root" . "name" "all-in-one" "base" 8100)) -}}
{{- else if hasKey $services "identity" -}}
{{- printf "http://%s-identity:%s/oauth2/keys.json" (include "kotinos.fullname" .) (include "kotinos.port" (dict "root" . "name" "identity" "base" 8100)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
