{{/*
A value as text. YAML takes 123, 1e3 and on without quotes for numbers and booleans, and so does `--set`. What this returns is still to be quoted.
*/}}
{{- define "tka.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq . (floor .) }}{{ printf "%.0f" . }}{{ else }}{{ printf "%v" . }}{{ end -}}
{{- else if not (kindIs "invalid" .) -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* At most 63 characters, as labels have it, of which the last is none that may only stand between others. */}}
{{- define "tka.cut" -}}
{{- regexReplaceAll "[^A-Za-z0-9]+$" (trunc 63 .) "" -}}
{{- end -}}

{{- define "tka.name" -}}
{{- include "tka.cut" (default .Chart.Name (include "tka.text" .Values.nameOverride)) -}}
{{- end -}}

{{/*
The name of what is in the release's namespace. It may begin with a digit, as a release may: what it names here are ServiceAccounts, RBAC's
objects and policies, and none of those must begin with a letter.
*/}}
{{- define "tka.fullname" -}}
{{- $name := include "tka.name" . -}}
{{- $whole := include "tka.text" .Values.fullnameOverride -}}
{{- if $whole -}}
{{- include "tka.cut" $whole -}}
{{- else if contains $name .Release.Name -}}
{{- include "tka.cut" .Release.Name -}}
{{- else -}}
{{- include "tka.cut" (printf "%s-%s" .Release.Name $name) -}}
{{- end -}}
{{- end -}}

{{/*
The name of what is outside the release's namespace. RBAC objects may have a colon in their name and nothing that a
namespace or release is called has one, so that no two releases ever meet.
*/}}
{{- define "tka.clusterName" -}}
{{- printf "tka:%s:%s" .Release.Namespace (include "tka.fullname" .) -}}
{{- end -}}

{{- define "tka.serviceAccountName" -}}
{{- default (include "tka.fullname" .) (include "tka.text" (.Values.serviceAccount).name) -}}
{{- end -}}

{{- define "tka.labels" -}}
helm.sh/chart: {{ include "tka.cut" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") | quote }}
app.kubernetes.io/name: {{ include "tka.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end -}}

{{- define "tka.subjects" -}}
- kind: ServiceAccount
  name: {{ include "tka.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{/*
Says "on" unless the value is false. A null takes a default away (https://helm.sh/docs/chart_template_guide/values_files/#deleting-a-default-key),
and must not switch off what protects.
*/}}
{{- define "tka.isOn" -}}
{{- if ne (toString .) "false" }}on{{ end -}}
{{- end -}}

{{/* Which ClusterRoles may be bound in which namespace, as JSON: {"shop": ["edit"]}. */}}
{{- define "tka.rolesByNamespace" -}}
{{- $roles := dict -}}
{{- range .Values.namespacedRoles -}}
{{- $role := .role -}}
{{- range .namespaces -}}
{{- $known := get $roles . | default list -}}
{{- $_ := set $roles . (append $known $role | uniq) -}}
{{- end -}}
{{- end -}}
{{- toJson $roles -}}
{{- end -}}

{{/* Which pods are the server's. */}}
{{- define "tka.selector" -}}
app.kubernetes.io/name: {{ include "tka.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: server
{{- end -}}

{{/*
The name of the StatefulSet and of what belongs to it. It is part of the pods' host names, so it has no dot, and part of a label of theirs that
also has a hash, so it has at most 52 characters. What is changed gets a digest, so that two names stay two.
*/}}
{{- define "tka.workload" -}}
{{- $whole := include "tka.fullname" . -}}
{{- if or (contains "." $whole) (gt (len $whole) 52) -}}
{{- printf "%s-%s" (regexReplaceAll "[^a-z0-9]+$" ($whole | replace "." "-" | trunc 43) "") (sha256sum $whole | trunc 8) -}}
{{- else -}}
{{- $whole -}}
{{- end -}}
{{- end -}}

{{/* The name of the Service, which must begin with a letter (RFC 1035). */}}
{{- define "tka.service" -}}
{{- $workload := include "tka.workload" . -}}
{{- if regexMatch "^[0-9]" $workload }}tka-{{ end }}{{ $workload -}}
{{- end -}}

{{/* The pods, and so the Secrets with the state of their nodes, as a JSON list. */}}
{{- define "tka.pods" -}}
{{- $pods := list -}}
{{- range $ordinal := until (int .Values.replicas) -}}
{{- $pods = append $pods (printf "%s-%d" (include "tka.workload" $) $ordinal) -}}
{{- end -}}
{{- toJson $pods -}}
{{- end -}}

{{/* An image, by its digest if there is one: (list IMAGE DEFAULT-TAG). */}}
{{- define "tka.image" -}}
{{- $image := index . 0 -}}
{{- $tag := $image.tag | default (index . 1) -}}
{{- if $image.digest }}{{ printf "%s@%s" $image.repository $image.digest }}{{ else }}{{ printf "%s:%s" $image.repository $tag }}{{ end -}}
{{- end -}}

{{/* The server's configuration: what the values say, and what the chart knows. No secret is part of it. */}}
{{- define "tka.config" -}}
{{- $known := dict
  "tailscale" (dict "socket" "/var/run/tailscale/tailscaled.sock" "port" (int .Values.port))
  "operator" (dict "namespace" .Release.Namespace)
  "health" (dict "port" (int .Values.health.port)) -}}
{{- with .Values.clusterInfo -}}
{{- if (.configMap).enabled -}}
{{- $_ := set $known "clusterInfo" (dict "configMapRef" (dict "enabled" true "name" .configMap.name "namespace" .configMap.namespace)) -}}
{{- else -}}
{{- $_ := set $known "clusterInfo" (dict "apiEndpoint" .apiEndpoint) -}}
{{- end -}}
{{- end -}}
{{- if (.Values.tls).secretName -}}
{{- $_ := set $known "tls" (dict "certFile" "/run/secrets/tka/tls/tls.crt" "keyFile" "/run/secrets/tka/tls/tls.key") -}}
{{- end -}}
{{- if (.Values.recordings).existingClaim -}}
{{- $_ := set $known "gateway" (dict "recording" (dict "folder" "/var/lib/tka/recordings")) -}}
{{- end -}}
{{- toYaml (mustMergeOverwrite (deepCopy .Values.config) $known) -}}
{{- end -}}

{{/* Of the server's configuration the settings whose change needs a restart, as JSON by key. */}}
{{- define "tka.config.restart" -}}
{{- $config := include "tka.config" . | fromYaml -}}
{{- $settings := dict -}}
{{- range $key := .Files.Get "files/restart-keys.json" | fromJsonArray -}}
{{- $value := $config -}}
{{- $isThere := true -}}
{{- range splitList "." $key -}}
{{- if and (kindIs "map" $value) (hasKey $value .) -}}
{{- $value = get $value . -}}
{{- else -}}
{{- $isThere = false -}}
{{- $value = "" -}}
{{- end -}}
{{- end -}}
{{- if $isThere -}}
{{- $_ := set $settings $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $settings -}}
{{- end -}}

{{/* A Go duration in seconds, rounded up. */}}
{{- define "tka.seconds" -}}
{{- $units := dict "ns" 0.000000001 "us" 0.000001 "µs" 0.000001 "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h)" . -1 -}}
{{- $unit := regexFind "[^0-9.]+$" . -}}
{{- $seconds = addf $seconds (mulf (trimSuffix $unit . | float64) (get $units $unit)) -}}
{{- end -}}
{{- ceil $seconds | int -}}
{{- end -}}

{{/* How long the server may take to end, in seconds: `server.writeTimeout`, and 15 s more for other work. */}}
{{- define "tka.endsWithin" -}}
{{- add 15 (include "tka.seconds" (((.Values.config).server).writeTimeout | default "20s") | int) -}}
{{- end -}}

{{/* The port of an address, be it a URL or HOST:PORT: (list ADDRESS DEFAULT). */}}
{{- define "tka.portOf" -}}
{{- $address := regexReplaceAll "^[a-z]+://" (index . 0) "" -}}
{{- regexFind ":[0-9]+$" (splitList "/" $address | first) | trimPrefix ":" | default (index . 1) -}}
{{- end -}}

{{/* What the pod security standard "restricted" asks of each container (https://kubernetes.io/docs/concepts/security/pod-security-standards/), and more. */}}
{{- define "tka.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
